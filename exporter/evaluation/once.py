"""Runs every check once, now, for `health-exporter check`."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue

from exporter.evaluation.run import run
from exporter.evaluation.schedule import PoolError
from exporter.evaluation.store import Store
from exporter.model import Snapshot
from exporter.probe.check import Check

MAX_WORKERS = 32  # checks that run at the same time
MARGIN = 1.0  # seconds to wait after the longest timeout
MAX_WAIT = 30 * 86400.0  # seconds; joining a thread with a much longer timeout raises OverflowError


def run_all(checks: Sequence[Check], workers: int = MAX_WORKERS) -> Snapshot:
    """Run each check once and return the Snapshot. A check that outlasts its timeout stays unknown.

    One run settles the status, because thresholds count runs.
    """
    logging.getLogger().addHandler(logging.NullHandler())  # the report contains everything that would be logged
    store = Store()
    once = [Check(replace(check.spec, success_threshold=1, failure_threshold=1), check.probe) for check in checks]
    queue: SimpleQueue[Check] = SimpleQueue()
    for check in store.configure(once):
        queue.put(check)

    def work() -> None:
        with contextlib.suppress(Empty):
            while True:
                check = queue.get_nowait()
                store.record(check, run(check))

    # Daemon threads: a probe that ignores its deadline must not hold up the report.
    threads = _start_threads(min(workers, len(once)), work)
    rounds = -(-len(once) // max(1, len(threads)))
    longest = max((check.spec.timeout for check in once), default=0)
    until = time.monotonic() + min(rounds * longest + MARGIN, MAX_WAIT)
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return store.snapshot()


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
