"""Every check once, now: what `health-exporter check` reports."""

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue

from exporter.evaluation.run import run
from exporter.evaluation.store import Store
from exporter.model import Snapshot
from exporter.probe.check import Check

CHECKERS = 32  # checks that run at the same time
AFTERTHOUGHT = 1.0  # seconds to wait beyond the longest timeout
LONGEST = 30 * 86400.0  # seconds; beyond it, waiting for a thread is an OverflowError


def look(checks: Sequence[Check], checkers: int = CHECKERS) -> Snapshot:
    """One run of each check, in the same store that `serve` uses; a check that outlasts its timeout stays unknown.

    One run settles a check: thresholds count runs.
    """
    logging.getLogger().addHandler(logging.NullHandler())  # the report says it all
    store = Store()
    once = [Check(replace(each.spec, success_threshold=1, failure_threshold=1), each.probe) for each in checks]
    waiting: SimpleQueue[Check] = SimpleQueue()
    for each in store.configure(once):
        waiting.put(each)

    def work() -> None:
        with contextlib.suppress(Empty):
            while True:
                each = waiting.get_nowait()
                store.record(each, run(each))

    # Daemons: a probe that breaks its promise and outlasts its timeout must not keep the report from being given.
    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(checkers, len(once)))]
    for worker in workers:
        worker.start()
    rounds = -(-len(once) // checkers)
    longest = max((each.spec.timeout for each in once), default=0)
    until = time.monotonic() + min(rounds * longest + AFTERTHOUGHT, LONGEST)
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
    return store.snapshot()
