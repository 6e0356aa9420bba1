"""Every State by the name of its check, as an immutable mapping that is cheap to change in one place.

Theory of operation. The States are in tuples of CHUNK States each, in the order of the configuration. A new mapping
with one other State shares all chunks but one with the old mapping, and the index of names. With 20,000 checks it
copies 300 references, not 20,000. The first reader that needs all States makes a dict of them, once for each mapping.
"""

from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from functools import cached_property
from itertools import chain

from exporter.model import State

CHUNK = 128
"""States that a new mapping copies; about the square root of the largest number of checks."""


class States(Mapping[str, State]):
    """An immutable mapping."""

    def __init__(self, index: Mapping[str, int], chunks: tuple[tuple[State, ...], ...]) -> None:
        self._index = index
        self._chunks = chunks

    @classmethod
    def of(cls, states: Iterable[State]) -> "States":
        """Return a mapping of these States, in this order."""
        values = tuple(states)
        index = {state.spec.name: number for number, state in enumerate(values)}
        return cls(index, tuple(values[first : first + CHUNK] for first in range(0, len(values), CHUNK)))

    def put(self, name: str, state: State) -> "States":
        """Return a mapping with another State for a name that it has."""
        number, place = divmod(self._index[name], CHUNK)
        chunk = self._chunks[number]
        changed = (*chunk[:place], state, *chunk[place + 1 :])
        return States(self._index, (*self._chunks[:number], changed, *self._chunks[number + 1 :]))

    def __getitem__(self, name: str) -> State:
        number, place = divmod(self._index[name], CHUNK)
        return self._chunks[number][place]

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def values(self) -> ValuesView[State]:
        """Return all States."""
        return self._all.values()

    def items(self) -> ItemsView[str, State]:
        """Return all names with their States."""
        return self._all.items()

    @cached_property
    def _all(self) -> dict[str, State]:
        return dict(zip(self._index, chain.from_iterable(self._chunks), strict=True))
