"""The pieces that an incident consists of. Each has a begin, an end, and its latest change."""

from dataclasses import dataclass

from exporter.evaluation.answered import Answered
from exporter.evaluation.history import Milestone, Transition


@dataclass(frozen=True, slots=True)
class Episode:
    """The time in which a check was not `pass`."""

    check: str
    transitions: tuple[Transition, ...]
    failing_since: float | None
    """The start of the first failed run, if it is known."""
    end: float | None
    """When it was `pass` again, or was reset; None if it still is not `pass`."""
    reset: Milestone | None
    """The event of the exporter that has ended it, without a transition."""

    @property
    def begin(self) -> float:
        """The first failed run or, if it is not known, the first transition."""
        return self.transitions[0].time if self.failing_since is None else self.failing_since

    @property
    def latest(self) -> float:
        """The latest change."""
        return self.transitions[-1].time


@dataclass(frozen=True, slots=True)
class Flapping:
    """Many episodes of a check, one soon after the other."""

    check: str
    episodes: tuple[Episode, ...]

    @property
    def begin(self) -> float:
        """The begin of the first episode."""
        return self.episodes[0].begin

    @property
    def end(self) -> float | None:
        """The end of the last episode."""
        return self.episodes[-1].end

    @property
    def latest(self) -> float:
        """The latest change."""
        return self.episodes[-1].latest


@dataclass(frozen=True, slots=True)
class Life:
    """An event of the exporter itself, with its consequences."""

    milestone: Milestone
    begin: float
    end: float
    down_since: float | None = None
    """For a start: the last sign of the exporter before, if there was one."""
    stopped: bool = False
    """For a start: the exporter before was shut down."""
    configured: bool = False
    """For a rejection: an earlier configuration stayed in use."""
    first_passes: tuple[Transition, ...] = ()
    """For a load: the checks that have then passed for the first time."""

    @property
    def latest(self) -> float:
        """The latest change."""
        return self.end


@dataclass(frozen=True, slots=True)
class Refusals:
    """Responses of 503, as a piece."""

    entry: Answered

    @property
    def request(self) -> tuple[str, bool]:
        """The path, and whether the kubelet has requested it."""
        return self.entry.path, self.entry.kubelet

    @property
    def begin(self) -> float:
        """The first response."""
        return self.entry.first

    @property
    def end(self) -> float:
        """The last response."""
        return self.entry.last

    @property
    def latest(self) -> float:
        """The latest change."""
        return self.entry.first


Piece = Episode | Flapping | Life | Refusals
