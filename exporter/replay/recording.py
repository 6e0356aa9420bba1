"""The entries of a history -> what is known about the runs of each check, and when.

Theory of operation:

Every change of a Store is an entry with the next generation. So a generation that is skipped means that entries are
missing, whatever the cause: a full disk, a crash, a file that was deleted. Nothing is known about that time, and about
the States right after it, so it is not covered by the recording. Neither is the time in which the exporter did not run.

A check lives from the checkpoint that adds or changes it to the one that removes or changes it. A State in a checkpoint
that has no runs yet is a new or changed check; all others go on. A checkpoint at the begin of a file is written while
entries from before it still wait, so it counts only if the recording begins with it.

If the wall clock moves ahead of the monotonic one, the clock was set or the machine was suspended. Nothing ran in the
meantime, so it is not covered either.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from exporter.evaluation.answered import Answered
from exporter.evaluation.history import Checkpoint, Entry, Event, Milestone, Recorded, Transition
from exporter.model import Result, Spec, State
from exporter.replay.windows import Windows, unite

MAX_JUMP = 60.0
"""Seconds by which the wall clock may move ahead without a gap."""


class ReplayError(ValueError):
    """The recording cannot answer the question."""


@dataclass(slots=True)
class Life:
    """The runs of a check under one configuration, without a gap."""

    spec: Spec
    begin: float
    offset: float
    """The time on the wall clock minus that on the monotonic clock, when this life begins."""
    start: State | None
    """The State at the begin; None if it is not known."""
    readings: tuple[list[Result], ...] = field(default_factory=lambda: ([],))
    """The runs. If they are not known exactly: the best case first, and bad ones."""
    end: float = 0.0

    @property
    def is_new(self) -> bool:
        """Whether this life begins with the check's first run."""
        return self.start is not None and self.start.runs == 0


@dataclass(frozen=True, slots=True)
class Recording:
    """What a history says. Times are wall clock."""

    covered: Windows
    """When the exporter ran, and all that happened was recorded."""
    lives: tuple[Life, ...]
    draining: Windows = ()
    degraded: Windows = ()
    answered: tuple[Answered, ...] = ()
    """Responses of 503 to the kubelet."""
    remarks: tuple[str, ...] = ()
    """What a reader has to know about it."""


def read(entries: Iterable[Entry]) -> Recording:
    """Return the recording that these entries make."""
    reader = _Reader()
    for entry in entries:
        reader.add(entry)
    return reader.finish()


class _Reader:
    """Follows the entries in their order."""

    def __init__(self) -> None:
        self._open: dict[str, Life] = {}
        self._lives: list[Life] = []
        self._covered: list[tuple[float, float]] = []
        self._begin: float | None = None  # of the time that is covered
        self._last = 0.0  # time of the latest entry
        self._generation: int | None = None  # of the latest entry
        self._included = -1  # the generation up to which the first checkpoint has counted the runs
        self._flags: dict[str, float] = {}  # draining, degraded: since when
        self._flagged: dict[str, list[tuple[float, float]]] = {"draining": [], "degraded": []}
        self._answered: dict[tuple[str, float], Answered] = {}
        self._seen: tuple[float, float] | None = None  # the latest time with both clocks, and their difference
        self._missing = 0
        self._jumps = 0
        self._holds = 0

    def add(self, entry: Entry) -> None:
        """Add the next entry."""
        match entry:
            case Answered():
                if entry.kubelet:
                    self._answered[entry.path, entry.first] = entry
            case Checkpoint(loaded=False):
                if self._begin is None:
                    self._adopt(entry)
            case Checkpoint():
                self._compare_clocks(entry.time, entry.clock)
                self._advance(entry.time, entry.generation)
                self._load(entry)
            case Milestone(event=Event.STARTED):
                self._restart(entry.time)
            case Milestone(event=Event.DRAINING):
                self._advance(entry.time, entry.generation)
                self._flag("draining", entry.time, up=True)
            case Milestone(event=Event.HELD | Event.RELEASED):
                self._advance(entry.time, entry.generation)
                self._holds += entry.event is Event.HELD
            case Milestone(event=Event.STOPPED):
                self._last = max(self._last, entry.time)
            case Recorded() if entry.generation > self._included:
                ended = entry.result.started + entry.result.duration
                self._compare_clocks(ended, entry.result.ended)
                self._advance(ended, entry.generation)
                if life := self._open.get(entry.check):
                    life.readings[0].append(entry.result)
            case Transition(threshold=0) if entry.generation > self._included:
                self._advance(entry.time, entry.generation)

    def finish(self) -> Recording:
        """Return the recording."""
        self._close()
        return Recording(
            covered=unite(tuple(self._covered)),
            lives=tuple(life for life in self._lives if life.begin < life.end),
            draining=unite(tuple(self._flagged["draining"])),
            degraded=unite(tuple(self._flagged["degraded"])),
            answered=tuple(self._answered.values()),
            remarks=self._write_remarks(),
        )

    def _write_remarks(self) -> tuple[str, ...]:
        missing = f"{self._missing} entries of the history are missing. The time in which they are missing is left out."
        jumps = "The clock was set forward, or the machine was suspended. That time is left out."
        held = "Restarts were suspended for some of this time (hold). The table shows what had happened without a hold."
        known = ((missing, self._missing), (jumps, self._jumps), (held, self._holds))
        return tuple(remark for remark, count in known if count)

    def _adopt(self, checkpoint: Checkpoint) -> None:
        """Begin with the States of a checkpoint, which include the runs up to its generation."""
        self._begin = self._last = checkpoint.time
        self._generation = self._included = checkpoint.generation
        self._seen = checkpoint.time, checkpoint.time - checkpoint.clock
        self._holds += checkpoint.held
        for state in checkpoint.states:
            offset = checkpoint.time - checkpoint.clock
            self._open[state.spec.name] = Life(state.spec, checkpoint.time, offset, state)
        self._flag("draining", checkpoint.time, up=checkpoint.draining)
        self._flag("degraded", checkpoint.time, up=checkpoint.degraded)

    def _load(self, checkpoint: Checkpoint) -> None:
        """Note which checks there are from now on."""
        states = {state.spec.name: state for state in checkpoint.states}
        for name, life in [*self._open.items()]:
            if name not in states or not states[name].runs:
                life.end = checkpoint.time
                self._lives.append(self._open.pop(name))
        offset = checkpoint.time - checkpoint.clock
        for name, state in states.items():
            if name not in self._open:
                self._open[name] = Life(state.spec, checkpoint.time, offset, None if state.runs else state)
        self._flag("degraded", checkpoint.time, up=checkpoint.degraded)

    def _restart(self, time: float) -> None:
        """Begin with another process of the exporter."""
        if self._generation == self._included:  # a checkpoint of this process, written before what it includes
            self._begin = None
            self._open.clear()
        self._close()
        self._begin = self._last = time
        self._generation, self._included, self._seen = None, -1, None

    def _advance(self, time: float, generation: int) -> None:
        """Note that time has passed. If entries are missing, the recording goes on without them."""
        before, self._generation = self._generation, generation
        if self._begin is None:
            self._begin = self._last = time
        if before is not None and generation > before + 1:
            self._missing += generation - before - 1
            self._split(time)
        self._last = max(self._last, time)

    def _compare_clocks(self, time: float, clock: float) -> None:
        """Leave out the time by which the wall clock has moved ahead."""
        before, self._seen = self._seen, (time, time - clock)
        if before is not None and self._begin is not None and time - clock - before[1] > MAX_JUMP:
            self._jumps += 1
            self._last = max(self._begin, before[0])  # which clock the entries since then have is not known
            self._split(time)

    def _split(self, time: float) -> None:
        """End all lives with the latest entry, and begin again now, with States that are not known."""
        flags, lives = [*self._flags], [*self._open.values()]
        self._close()
        self._begin = time
        for life in lives:
            offset = life.offset
            if runs := life.readings[0]:
                offset = runs[-1].started + runs[-1].duration - runs[-1].ended
            self._open[life.spec.name] = Life(life.spec, time, offset, None)
        for flag in flags:
            self._flag(flag, time, up=True)

    def _flag(self, flag: str, time: float, *, up: bool) -> None:
        since = self._flags.pop(flag, time)
        if up:
            self._flags[flag] = since
        else:
            self._flagged[flag].append((since, time))

    def _close(self) -> None:
        """End all lives, and the time that is covered, with the latest entry."""
        for life in self._open.values():
            life.end = self._last
        self._lives += self._open.values()
        self._open.clear()
        for flag in [*self._flags]:
            self._flag(flag, self._last, up=False)
        if self._begin is not None:
            self._covered.append((self._begin, self._last))
            self._begin = None
