"""The one mutable object: Results go in, a Snapshot comes out.

Writers take a short lock to put one State into a new Snapshot. Readers take no lock at all: they read a reference.
A reader that finds a State gone stale publishes the next generation itself if nobody is publishing at that instant,
and otherwise answers from the generation there is, whose truth stands.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from exporter.evaluation.settle import expire, settle
from exporter.model import Result, Snapshot, State, Status
from exporter.probe.check import Check

_log = logging.getLogger(__name__)


class Store:
    """Holds the current Snapshot. Every change makes a new one with the next generation."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._checks: dict[str, Check] = {}
        self._snapshot = Snapshot(0, wall(), {})

    def configure(self, checks: Iterable[Check]) -> tuple[Check, ...]:
        """Watch exactly these checks. One that has not changed keeps its State and its identity.

        Returns the checks to schedule: the known object where nothing changed.
        """
        with self._lock:
            old, states = self._checks, self._snapshot.states
            self._checks = {}
            for check in checks:
                known = old.get(check.spec.name)
                self._checks[check.spec.name] = known if known == check else check
            self._publish(
                {
                    name: states[name] if old.get(name) is check else State(check.spec)
                    for name, check in self._checks.items()
                }
            )
            return tuple(self._checks.values())

    def record(self, check: Check, result: Result) -> None:
        """Settle one Result. A result of a check that has been removed or changed meanwhile is dropped."""
        name = check.spec.name
        with self._lock:
            if self._checks.get(name) is not check:
                return
            before = self._snapshot.states[name]
            after = settle(before, result)
            self._publish({**self._snapshot.states, name: after})
            generation = self._snapshot.generation
        _tell(before, after, generation)

    def drain(self) -> None:
        """From now on and for good, readiness is false."""
        with self._lock:
            self._publish(self._snapshot.states, draining=True)

    def snapshot(self) -> Snapshot:
        """The truth of this moment. Never waits."""
        if self._snapshot.fresh_until <= self._clock() and self._lock.acquire(blocking=False):
            try:
                changes = self._expire()
            finally:
                self._lock.release()
            for before, after, generation in changes:
                _tell(before, after, generation)
        return self._snapshot

    def _expire(self) -> list[tuple[State, State, int]]:
        before, now, wall = self._snapshot.states, self._clock(), self._wall()
        after = {name: expire(state, now, wall) for name, state in before.items()}
        changed = [name for name in after if after[name] is not before[name]]
        if changed:
            self._publish(after)
        return [(before[name], after[name], self._snapshot.generation) for name in changed]

    def _publish(self, states: Mapping[str, State], *, draining: bool = False) -> None:
        now = self._snapshot
        self._snapshot = Snapshot(now.generation + 1, self._wall(), states, draining or now.draining)


def _tell(before: State, after: State, generation: int) -> None:
    """One log line per transition, and one when a check that could look no longer can."""
    last = after.last.outcome if after.last else None
    level = logging.WARNING
    if after.status is not before.status:
        what, reason = f"{before.status} -> {after.status}", after.reason
        level = logging.INFO if after.status is Status.PASS else level
    elif last and last.status is Status.UNKNOWN and not _blind(before):
        what, reason = "could not look", last.reason
    else:
        return
    _log.log(
        level,
        "check %s: %s",
        after.spec.name,
        what,
        extra={
            "fields": {
                "check": after.spec.name,
                "kind": after.spec.kind,
                "status": after.status,
                "reason": reason,
                "summary": last.summary if last else None,
                "generation": generation,
            }
        },
    )


def _blind(state: State) -> bool:
    return state.last is not None and state.last.outcome.status is Status.UNKNOWN
