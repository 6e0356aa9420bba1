"""Every State by the name of its check, as an immutable mapping that is cheap to change in one place.

Theory of operation. The States are in tuples of CHUNK States each, in the order of the configuration. A new mapping
with one other State shares all chunks but one with the old mapping, and the index of names. With 20,000 checks it
copies 300 references, not 20,000. The first reader that needs all States makes a dict of them, once for each mapping.
"""

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from functools import cached_property
from itertools import chain

from exporter.model import State

CHUNK = 128
"""States that a new mapping copies; about the square root of the largest number of checks."""


class States(Mapping[str, State]):
    """An immutable mapping."""

    def __init__(self, states: Mapping[str, State]) -> None:
        values = tuple(states.values())
        self._index = {name: number for number, name in enumerate(states)}
        self._chunks = tuple(values[first : first + CHUNK] for first in range(0, len(values), CHUNK))

    def put(self, name: str, state: State) -> "States":
        """Return a mapping with another State for a name that it has."""
        number, place = divmod(self._index[name], CHUNK)
        chunk = self._chunks[number]
        changed = States.__new__(States)
        changed._index = self._index
        changed._chunks = (
            *self._chunks[:number],
            (*chunk[:place], state, *chunk[place + 1 :]),
            *self._chunks[number + 1 :],
        )
        return changed

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
        return self._all.values()

    def items(self) -> ItemsView[str, State]:
        return self._all.items()

    @cached_property
    def _all(self) -> dict[str, State]:
        return dict(zip(self._index, chain.from_iterable(self._chunks), strict=True))
