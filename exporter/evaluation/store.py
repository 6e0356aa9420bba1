"""The only place where evaluation state changes: Results go in, Snapshots come out.

Theory of operation:

The promise: answers with the same generation never contradict each other, whichever endpoint they come from.
It holds because every answer is computed from one Snapshot, a Snapshot never changes, and every change publishes a new
one with the next generation.

Writers are the workers that record Results, a reload, and the shutdown. They publish under a lock, one at a time, so no
change is lost. What they do under the lock is short: they settle one check and put its State into the mapping
(states.py), which does not copy the others. They write log lines
after they have released it.

Readers never wait for a lock: reading the reference to the current Snapshot is atomic. Only time can make a
Snapshot wrong, when a State goes stale or a hold expires. The Snapshot knows when that is. A reader that comes after
that moment publishes the next generation itself, if it gets the lock without waiting. If it does not, another thread is
publishing right now, and the reader uses the current Snapshot.

A check keeps its identity, and its State, over a reload that does not change it. A Result is recorded only if its check
is still the configured one, so a run that began before a reload cannot change the State of a new check.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from types import EllipsisType

from exporter.evaluation.announcement import announce, announce_hold, announce_release
from exporter.evaluation.history import Checkpoint, Event, History, Milestone
from exporter.evaluation.hold import make_hold
from exporter.evaluation.judge import satisfies
from exporter.evaluation.settle import expire, settle
from exporter.evaluation.states import States
from exporter.lines import format_time
from exporter.model import Beat, Group, Hold, Result, Snapshot, State
from exporter.probe.check import Check
from exporter.probe.passive import PassiveProbe
from exporter.text import format_count

_STEP = 1.0  # seconds by which a clock may be set back without the loss of a heartbeat


class Store:
    """Holds the current Snapshot. Every change publishes a new one with the next generation."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        first: int = 0,
        show: Callable[[int], object] = lambda _: None,
    ) -> None:
        """`first` is the first generation. `show` is called with each generation before an answer can have it."""
        self._clock = clock
        self._wall = wall
        self._show = show
        self._lock = threading.Lock()
        self._checks: dict[str, Check] = {}
        self._passive: dict[str, PassiveProbe] = {}  # those of the checks that receive heartbeats
        self.history = History()
        self._obstacles: set[str] = set()  # names of the checks that keep startup or readiness down
        self._states = States.of(())  # those of the current Snapshot
        self._snapshot = Snapshot(first, wall(), self._states)

    def configure(self, checks: Iterable[Check]) -> tuple[Check, ...]:
        """Watch exactly these checks. An unchanged check keeps its State and its identity.

        Returns the checks to schedule: the existing object for an unchanged check.
        """
        with self._lock:
            old, states = self._checks, self._snapshot.states
            new = {}
            for check in checks:
                known = old.get(check.spec.name)
                new[check.spec.name] = known if known == check else check
                if known != check and isinstance(check.probe, PassiveProbe):
                    check.probe.attach(partial(self._find_beat, check.spec.name))
            after = {name: states[name] if old.get(name) is check else State(check.spec) for name, check in new.items()}
            self._checks = new
            self._passive = {name: check.probe for name, check in new.items() if isinstance(check.probe, PassiveProbe)}
            self._obstacles.clear()
            self._note_obstacles(after.values())
            self._publish(States.of(after.values()))
            self.history.add_waits(self._make_beat(name, None) for name in self._passive)
            self._note_checks()
            self._note(Event.LOADED, format_count(len(new), "check"))
            return tuple(new.values())

    def record(self, check: Check, result: Result) -> None:
        """Settle one Result. It is dropped if a reload has removed or changed the check."""
        name = check.spec.name
        with self._lock:
            if self._checks.get(name) is not check:
                return
            before = self._states[name]
            after = settle(before, result)
            self._note_obstacles((after,))
            self._publish(self._states.put(name, after))
            generation = self._snapshot.generation
            self.history.note_run(after.spec, result, generation)
            self.history.note_change(before, after, generation, result.ended, expired=False)
        announce(before, after, generation)

    def find_passive(self, name: str) -> PassiveProbe | None:
        """Return the probe of a check that receives heartbeats, or None if this is not the name of one."""
        return self._passive.get(name)

    def has_unread_token(self) -> bool:
        """Return whether the latest run of a check that receives heartbeats could not read its token."""
        return any(probe.accepts(b"") is None for probe in self._passive.values())

    def receive(self, name: str, exit_code: int) -> None:
        """Note a heartbeat for a check. The next run of the check judges it, so it is not a new Snapshot."""
        with self._lock:
            self.history.note_beat(self._make_beat(name, exit_code))

    def _make_beat(self, name: str, exit_code: int | None) -> Beat:
        return Beat(name, self._wall(), self._clock(), self._snapshot.generation, exit_code)

    def _find_beat(self, name: str) -> Beat | None:
        return self.history.beats.get(name)

    def degrade(self) -> None:
        """Watch nothing, and make every group but liveness false until `configure` is called."""
        with self._lock:
            self._checks, self._passive = {}, {}
            self._publish(States.of(()), degraded=True)
            self._note_checks()

    def drain(self) -> None:
        """Make readiness false from now on, permanently."""
        with self._lock:
            self._publish(self._states, draining=True, degraded=self._snapshot.degraded)
            self._note(Event.DRAINING)

    def hold(self, seconds: float, why: str) -> Hold:
        """Make liveness true for so many seconds, whatever its checks say. Raises HoldError."""
        self.snapshot()  # an earlier hold may have expired
        with self._lock:
            snapshot = self._snapshot
            hold = make_hold(snapshot.hold, seconds, why, self._clock(), self._wall())
            self._publish(self._states, degraded=snapshot.degraded, hold=hold)
            self._note(Event.HELD, f"until {format_time(hold.until)}: {hold.why}")
            generation = self._snapshot.generation
        announce_hold(hold, generation)
        return hold

    def release(self) -> Hold | None:
        """End the hold. Returns it, or None if there is none."""
        self.snapshot()
        with self._lock:
            snapshot = self._snapshot
            if snapshot.hold:
                self._publish(self._states, degraded=snapshot.degraded, hold=None)
                self._note(Event.RELEASED, "the hold was ended by a request")
            generation = self._snapshot.generation
        if snapshot.hold:
            announce_release("was ended by a request", generation)
        return snapshot.hold

    def note(self, event: Event, detail: str = "") -> None:
        """Note an event in the life of the exporter in the history."""
        with self._lock:
            self._note(event, detail)

    def restore(self, earlier: History) -> None:
        """Add to the history what an earlier process has recorded.

        Its monotonic clock may have been another one, so the ages of its heartbeats are those on the wall clock. A
        heartbeat from the future has no age that is known, so it does not count.
        """
        now, wall = self._clock(), self._wall()
        earlier.beats = {
            name: replace(beat, clock=now - max(0.0, wall - beat.time))
            for name, beat in earlier.beats.items()
            if beat.time <= wall + _STEP
        }
        with self._lock:
            self.history.restore(earlier, self._checks or None)  # without checks, they may still be loaded

    def make_checkpoint(self) -> Checkpoint:
        """Return every State now, without a change. Never waits."""
        return self._make_checkpoint(loaded=False)

    def snapshot(self) -> Snapshot:
        """Return the current Snapshot. Never waits."""
        if self._snapshot.fresh_until <= self._clock() and self._lock.acquire(blocking=False):
            hold = self._snapshot.hold
            try:
                changes = self._expire()
                generation, released = self._snapshot.generation, hold and not self._snapshot.hold
            finally:
                self._lock.release()
            for before, after in changes:
                announce(before, after, generation)
            if released:
                announce_release("expired", generation)
        return self._snapshot

    def _expire(self) -> list[tuple[State, State]]:
        """Publish what time has changed. Returns the changed States, before and after."""
        now, wall = self._clock(), self._wall()
        before, degraded, hold = self._snapshot.states, self._snapshot.degraded, self._snapshot.hold
        after = {name: expire(state, now, wall) for name, state in before.items()}
        changes = [(before[name], after[name]) for name in after if after[name] is not before[name]]
        expired = hold is not None and hold.expires <= now
        if changes or expired:
            self._note_obstacles(state for _, state in changes)
            self._publish(States.of(after.values()), degraded=degraded, hold=None if expired else hold)
        for change in changes:
            self.history.note_change(*change, self._snapshot.generation, now, expired=True)
        if expired:
            self._note(Event.RELEASED, "the hold expired")
        return changes

    def _note(self, event: Event, detail: str = "") -> None:
        self.history.note(Milestone(self._wall(), self._snapshot.generation, event, detail))

    def _note_checks(self) -> None:
        self.history.note_checks(self._make_checkpoint(loaded=True))

    def _make_checkpoint(self, *, loaded: bool) -> Checkpoint:
        snapshot = self._snapshot
        states = tuple(snapshot.states.values())
        return Checkpoint(
            self._wall(),
            self._clock(),
            snapshot.generation,
            states,
            snapshot.draining,
            snapshot.degraded,
            loaded,
            held=snapshot.hold is not None,
            beats=tuple(self.history.beats.values()),
        )

    def _publish(
        self,
        states: States,
        *,
        draining: bool = False,
        degraded: bool = False,
        hold: Hold | EllipsisType | None = ...,
    ) -> None:
        """Publish the next Snapshot. A drain is permanent, and a hold stays unless another one, or None, is given."""
        current = self._snapshot
        self._show(current.generation + 1)
        generation, draining = current.generation + 1, draining or current.draining
        # The start of the application ends when startup and readiness are up together.
        started = current.started or not (self._obstacles or draining or degraded)
        hold = current.hold if isinstance(hold, EllipsisType) else hold
        self._states = states
        self._snapshot = Snapshot(generation, self._wall(), states, draining, degraded, started, hold)

    def _note_obstacles(self, states: Iterable[State]) -> None:
        """Note which of these states keep startup or readiness down. After a result, the other checks are not read."""
        for state in states:
            (self._obstacles.add if _is_obstacle(state) else self._obstacles.discard)(state.spec.name)


def _is_obstacle(state: State) -> bool:
    if state.status.healthy:  # which satisfies every group
        return False
    groups = (Group.STARTUP, Group.READINESS)
    return any(state.spec.belongs_to(group) and not satisfies(state, group) for group in groups)
