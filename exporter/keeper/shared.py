"""Memory that the keeper shares with its workers. It outlives a worker that crashes."""

import mmap
import time

GROUPS = ("liveness", "readiness", "startup", "all")

STARTING, SERVING, ENDED = range(3)
"""The states of a worker: it loads, it serves, and it has closed its listeners after the drain."""

MAX_CONFIGURATION = 9 * 1024 * 1024
"""Bytes of a configuration that is kept for the next worker: as many as the files may have, and their names."""

_LENGTH = 8  # bytes of the length before the content
_HEARTBEAT, _GENERATION, _RESTARTS, _STATE, _CONDITION = range(5)
_ANSWERS = _CONDITION + 4


class Kept:
    """The content that a worker has written last, for the next worker; empty if there is none."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _LENGTH + MAX_CONFIGURATION)  # pages that are not written take no memory

    def read(self) -> bytes:
        """Return the content."""
        length = int.from_bytes(self._memory[:_LENGTH], "little")
        return self._memory[_LENGTH : _LENGTH + length]

    def write(self, content: bytes) -> None:
        """Keep this content instead. If it is too large, keep none."""
        if len(content) > MAX_CONFIGURATION:
            content = b""
        self._memory[:_LENGTH] = bytes(_LENGTH)  # a worker may crash before the end of the content is written
        self._memory[_LENGTH : _LENGTH + len(content)] = content
        self._memory[:_LENGTH] = len(content).to_bytes(_LENGTH, "little")


class Shared:
    """Numbers, and the configurations in use, in memory that every process forked from this one can read and write.

    Each number has one writer at a time: the worker writes its heartbeat, its state, its condition and the
    generation, and the keeper writes the rest. Before it starts a worker, the keeper resets the state.
    """

    def __init__(self) -> None:
        self._numbers = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
        self.configuration = Kept()
        self.web_configuration = Kept()  # with the contents of its files

    @property
    def heartbeat(self) -> int:
        """The worker's latest heartbeat: a time on the monotonic clock, in nanoseconds."""
        return self._numbers[_HEARTBEAT]

    @property
    def generation(self) -> int:
        """The highest generation that an answer may have shown; 0 if there is none."""
        return self._numbers[_GENERATION]

    @generation.setter
    def generation(self, value: int) -> None:
        self._numbers[_GENERATION] = value

    @property
    def restarts(self) -> int:
        """How many workers have been started after the first."""
        return self._numbers[_RESTARTS]

    @restarts.setter
    def restarts(self, value: int) -> None:
        self._numbers[_RESTARTS] = value

    @property
    def state(self) -> int:
        """The state of the worker."""
        return self._numbers[_STATE]

    @state.setter
    def state(self, value: int) -> None:
        self._numbers[_STATE] = value

    @property
    def condition(self) -> list[int]:
        """The condition of the worker: what `Link.report` has reported, in that order.

        The number of reloads is written last and read first, so the rest is at least as new.
        """
        reloads = self._numbers[_ANSWERS - 1]
        return [*self._numbers[_CONDITION : _ANSWERS - 1].tolist(), reloads]

    @condition.setter
    def condition(self, numbers: list[int]) -> None:
        for index, number in enumerate(numbers, _CONDITION):
            self._numbers[index] = number

    def beat(self) -> None:
        """Show that the worker's event loop runs."""
        self._numbers[_HEARTBEAT] = time.monotonic_ns()

    def count(self, group: int) -> None:
        """Count an answer of the keeper for a group, given as its index in GROUPS."""
        self._numbers[_ANSWERS + group] += 1

    def answers(self) -> dict[tuple[str, int], int]:
        """Return the number of the keeper's answers by group and status code, without zeros."""
        counts = self._numbers[_ANSWERS : _ANSWERS + len(GROUPS)].tolist()
        codes = (200, *(503,) * (len(GROUPS) - 1))
        return {(group, code): count for group, code, count in zip(GROUPS, codes, counts, strict=True) if count}
