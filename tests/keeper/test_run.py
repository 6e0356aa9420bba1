"""Decisions of the keeper's loop that need many workers."""

import subprocess
import sys

from support import PATIENCE

from exporter.keeper.run import MAX_ABANDONED

IMMORTAL = """
import os, socket, subprocess
from exporter.keeper import run, worker
from exporter.keeper.arguments import parse

started = []

class Immortal(worker.Worker):
    def kill(self):
        self.killed, self.silence = True, 0

def fork(shared, release):
    started.append(subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL))
    control, _ = socket.socketpair()
    return Immortal(started[-1].pid, shared, control, os.pipe()[1])

class Impatient(run.Keeper):
    ticks = 0

    def _tick(self):
        super()._tick()
        self.ticks += 1
        self._back_off.until = 0
        if self.ticks == 500:
            self._code = 7

run.fork_worker, run.TICK, worker.MAX_START = fork, 0.0, 3
code = Impatient(parse(["--log.level=error"]), [], []).run()
print(code, len(started))
for process in started:
    process.kill()
"""


def test_workers_that_do_not_end_are_few():
    """Each of them keeps its memory, which the next one needs."""
    done = subprocess.run([sys.executable, "-c", IMMORTAL], capture_output=True, text=True, timeout=PATIENCE)

    assert done.stderr == ""
    assert done.stdout.split() == ["7", str(MAX_ABANDONED + 1)]
