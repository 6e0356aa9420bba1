"""Faults inside the exporter, for tests: Python imports this file at its start if its folder is in PYTHONPATH.

The worker is forked with these signal handlers. SIGUSR1 makes it do what the file `order` in the folder SABOTAGE says.
A file `crash` there kills it when it begins to load its libraries; a file `wait` holds it up at that point.
"""

import os
import signal
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["SABOTAGE"])


class Gate:
    """Sees every import first, and stops the first one that only the worker needs."""

    def find_spec(self, name: str, *rest: object) -> None:
        if name != "click":
            return
        if (FOLDER / "crash").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        while (FOLDER / "wait").exists():
            time.sleep(0.01)


def obey(*_: object) -> None:
    import ctypes
    import faulthandler

    order = (FOLDER / "order").read_text(encoding="ascii").split()
    if order == ["segfault"]:
        faulthandler._sigsegv()
    elif order == ["eat"]:
        hoard = []
        while True:
            hoard.append(b"x" * 2**20)
    elif order[0] == "read":
        Path(order[1]).read_bytes()
    elif order[0] == "block":
        ctypes.PyDLL(None).usleep(int(float(order[1]) * 1e6))  # PyDLL keeps the interpreter lock
        (FOLDER / "unblocked").touch()


sys.meta_path.insert(0, Gate())
signal.signal(signal.SIGUSR1, obey)
