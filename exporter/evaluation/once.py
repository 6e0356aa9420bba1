"""Runs every check once, now, for `health-exporter check`."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue

from exporter.evaluation.run import close, run
from exporter.evaluation.schedule import PoolError
from exporter.evaluation.store import Store
from exporter.model import Snapshot, State
from exporter.probe.check import Check

MAX_WORKERS = 32  # checks that run at the same time
MARGIN = 1.0  # seconds to wait after the longest timeout
MAX_WAIT = 30 * 86400.0  # seconds; waiting with a much longer timeout raises OverflowError
TICK = 0.25  # seconds from one report of progress to the next

Progress = Callable[[Collection[str], int], object]
"""Is called with the names of the checks that are running, and with the number of those that have ended."""


def run_all(
    checks: Sequence[Check],
    workers: int = MAX_WORKERS,
    *,
    progress: Progress | None = None,
    is_enough: Callable[[State], bool] = lambda _: False,
) -> Snapshot:
    """Run each check once and return the Snapshot. A check that outlasts its timeout stays unknown.

    One run settles the status, because thresholds count runs. After the first State that is enough, no further check
    starts, and the Snapshot has only the checks that have ended.
    """
    logging.getLogger().addHandler(logging.NullHandler())  # the report contains everything that would be logged
    store = Store()
    once = store.configure(settle_at_once(check) for check in checks)
    waiting: SimpleQueue[Check] = SimpleQueue()
    ended: SimpleQueue[None] = SimpleQueue()
    enough = threading.Event()
    running: dict[str, None] = {}
    for check in once:
        waiting.put(check)

    def work() -> None:
        while not enough.is_set() and (check := _take(waiting)) is not None:
            name = check.spec.name
            running[name] = None
            store.record(check, run(check))
            del running[name]
            if is_enough(store.snapshot().states[name]):
                enough.set()
            ended.put(None)

    # Daemon threads: a probe that ignores its deadline must not hold up the report.
    threads = _start_threads(min(workers, len(once)), work)
    rounds = -(-len(once) // max(1, len(threads)))
    longest = max((check.spec.timeout for check in once), default=0)
    until = time.monotonic() + min(rounds * longest + MARGIN, MAX_WAIT)
    done = 0
    try:
        while done < len(once) and not enough.is_set() and (left := until - time.monotonic()) > 0:
            if progress:
                progress(list(running), done)
            with contextlib.suppress(Empty):
                ended.get(timeout=min(left, TICK) if progress else left)
                done += 1
    finally:  # also after Ctrl-C: a command that is still running would outlive this process
        for check in once:
            if check.spec.name in running:
                close(check)
    snapshot = store.snapshot()
    if not enough.is_set():
        return snapshot
    return replace(snapshot, states={name: state for name, state in snapshot.states.items() if state.runs})


def settle_at_once(check: Check) -> Check:
    """Return the check with thresholds of 1 and no delay, so that each run settles its status until the next run."""
    spec = replace(check.spec, success_threshold=1, failure_threshold=1, stale_after=math.inf, initial_delay=0)
    return Check(spec, check.probe)


def _take(waiting: "SimpleQueue[Check]") -> Check | None:
    try:
        return waiting.get_nowait()
    except Empty:
        return None


def _start_threads(count: int, work: Callable[[], None]) -> list[threading.Thread]:
    """Start so many threads, or as many as the system can start. Raises PoolError if it starts no thread."""
    threads: list[threading.Thread] = []
    for _ in range(count):
        thread = threading.Thread(target=work, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not threads:
                raise PoolError(str(error)) from error
            break
        threads.append(thread)
    return threads
