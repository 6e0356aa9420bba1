"""Forks after all checks have passed, while threads hold the locks, and prints what fails in the child.

`python forking.py os|multiprocessing`
"""

import multiprocessing
import os
import sys
import threading
import time
import warnings

from started import app, health

from exporter.net.resolver import RESOLVER

PATIENCE = 120


def list_faults() -> list[str]:
    """Return the checks that do not pass, once all have or patience ends."""
    client = app.test_client()
    until = time.monotonic() + PATIENCE
    while True:
        answer = client.get("/health/healthz?format=json").get_json(force=True)
        faults = [name for name, (check,) in answer["checks"].items() if check["status"] != "pass"]
        if not faults or time.monotonic() > until:
            return faults
        time.sleep(0.05)


def report() -> None:
    """Print what fails in this process."""
    print("in the child:", list_faults(), flush=True)


def hold(lock: "threading.Lock | threading.Condition", held: threading.Semaphore) -> None:
    """Hold a lock for as long as the process runs."""
    with lock:
        held.release()
        time.sleep(2 * PATIENCE)


assert not list_faults()
process = next(iter(health._processes.values()))
locks = (RESOLVER._lock, process._lock, process.exporter.store._lock)
held = threading.Semaphore(0)
for lock in locks:
    threading.Thread(target=hold, args=(lock, held), daemon=True).start()
for _ in locks:
    held.acquire()
warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point
if sys.argv[1] == "os":
    if os.fork() == 0:
        report()
        os._exit(0)
    os.wait()
else:
    child = multiprocessing.get_context("fork").Process(target=report)
    child.start()
    child.join()
os._exit(0)
