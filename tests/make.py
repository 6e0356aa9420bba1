"""Short ways to make the nouns in tests."""

from collections.abc import Iterable
from typing import Any

from exporter.evaluation.settle import settle
from exporter.model import Deadline, Group, Outcome, Reason, Result, Snapshot, Spec, State, Status
from exporter.probe.check import Check, Probe

PASS = Outcome.passed("well")
WARN = Outcome(Status.WARN, Reason.THRESHOLD, "high")
FAIL = Outcome.failed(Reason.CONNECT, "refused")
UNKNOWN = Outcome(Status.UNKNOWN, Reason.ERROR, "broke")
LETTERS = {"P": PASS, "W": WARN, "F": FAIL, "U": UNKNOWN}


class Scripted(Probe):
    """A probe with a given result: an Outcome, an exception to raise, or a function of the deadline."""

    does: Any = PASS

    def probe(self, deadline: Deadline) -> Outcome:
        what = self.does(deadline) if callable(self.does) else self.does
        if isinstance(what, BaseException):
            raise what
        return what


def spec(name: str = "api", **options: Any) -> Spec:
    return Spec(name, options.pop("kind", "scripted"), **options)


def check(name: str = "api", does: Any = PASS, **options: Any) -> Check:
    return Check(spec(name, **options), Scripted(does=does))


def result(outcome: Outcome = PASS, *, at: float = 1000.0, duration: float = 0.01) -> Result:
    """A Result that ended at `at` on the monotonic clock; the wall clock is a million ahead."""
    return Result(outcome, 1_000_000 + at - duration, at, duration)


def settled(letters: str, **options: Any) -> State:
    """The State after these runs, one per second from 1000 on, given as P, W, F and U."""
    state = State(spec(**options))
    for second, letter in enumerate(letters):
        state = settle(state, result(LETTERS[letter], at=1000.0 + second))
    return state


def snapshot(states: Iterable[State], **options: Any) -> Snapshot:
    return Snapshot(
        options.pop("generation", 1), options.pop("timestamp", 1_001_000.0), {s.spec.name: s for s in states}, **options
    )


def in_groups(*groups: Group) -> frozenset[Group]:
    return frozenset({*groups, Group.ALL})
