"""As PID 1 of a container, the exporter reaps what exec checks leave behind, and no exit status is lost."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support import PATIENCE, Process, command, eventually, get, unavailable

# A pid namespace of its own, as a container has; without root also a user namespace.
NAMESPACE = ["--pid", "--fork", "--mount-proc", "--kill-child", *([] if os.geteuid() == 0 else ["--map-root-user"])]

WELL = "checks: [{name: well, exec: {command: ['true']}, timeoutSeconds: 10}]\n"
LEAVING = """
checks:
  - {name: well, exec: {command: [sh, -c, 'sleep 0.2 & exit 0']}, periodSeconds: 1, timeoutSeconds: 10}
  - {name: ill, exec: {command: [sh, -c, 'sleep 0.2 & exit 3']}, periodSeconds: 1, timeoutSeconds: 10}
  - {name: daemon, exec: {command: [sh, -c, 'setsid sleep 0.2 & exit 0']}, periodSeconds: 1, timeoutSeconds: 10}
  - name: many
    exec: {command: [sh, -c, 'for i in 1 2 3 4 5; do sleep 0.1 & done; exit 0']}
    periodSeconds: 1
    timeoutSeconds: 10
  - {name: late, exec: {command: [sh, -c, 'sleep 60 & sleep 60']}, periodSeconds: 1}
"""


class Init(Process):
    """The exporter as PID 1 of a PID namespace, on a free port of loopback."""

    def __init__(self, config: Path, *arguments: str) -> None:
        serve = [sys.executable, "-m", "exporter", "serve", "--config.file", str(config), *arguments]
        super().__init__([command("unshare"), *NAMESPACE, *serve, "--web.listen-address", "127.0.0.1:0"])

    @property
    def url(self) -> str:
        return self.line(r"msg=listening address=(\S+)/ .* pid=1 ").group(1)

    @property
    def itself(self) -> psutil.Process:
        """The PID of the namespace's PID 1 outside of it."""
        return psutil.Process(self.pid).children()[0]

    def zombies(self) -> int:
        count = 0
        for child in self.itself.children():
            with suppress(psutil.NoSuchProcess):  # buried meanwhile
                count += child.status() == psutil.STATUS_ZOMBIE
        return count

    def samples(self) -> dict[tuple[str, ...], float]:
        """The runs by check, and the failures by check and reason, in one Snapshot."""
        text = get(f"{self.url}/metrics").text
        labels = r'{check="(\w+)",kind="exec"(?:,reason="(\w+)")?}'
        found = re.findall(rf"^health_check_(?:runs|failures)_total{labels} (\S+)$", text, re.MULTILINE)
        return {(check, reason) if reason else (check,): float(value) for check, reason, value in found}

    def end(self) -> None:
        if self._child.poll() is None:
            self._child.kill()  # unshare ignores what is gentler, and takes process 1 with it
        super().end()


@pytest.fixture
def init(tmp_path: Path) -> Iterator[Callable[..., Init]]:
    """Start the exporter as PID 1: `init(yaml, *flags)`."""
    tried = subprocess.run([command("unshare"), *NAMESPACE, "true"], capture_output=True, text=True, timeout=PATIENCE)
    if tried.returncode:
        unavailable(f"no pid namespace can be made here: {tried.stderr.strip()}")
    started: list[Init] = []

    def start(yaml: str, *arguments: str) -> Init:
        (tmp_path / "health.yml").write_text(yaml)
        started.append(Init(tmp_path / "health.yml", *arguments))
        return started[-1]

    yield start
    for exporter in started:
        exporter.end()


def test_what_exec_checks_leave_behind_is_buried_and_no_exit_status_goes_lost(init, tmp_path):
    exporter = init(LEAVING)
    seen: dict[tuple[str, ...], float] = {}

    def enough() -> bool:
        seen.update(exporter.samples())
        return len(seen) >= 7 and min(seen.values()) >= 5

    eventually(enough, within=2 * PATIENCE, what="five runs of every check")
    (tmp_path / "health.yml").write_text(WELL)
    exporter.itself.send_signal(signal.SIGHUP)
    exporter.line('msg="configuration loaded"')

    assert set(seen) == {("well",), ("ill",), ("ill", "exit"), ("daemon",), ("many",), ("late",), ("late", "timeout")}
    assert seen["ill", "exit"] == seen["ill",]
    assert seen["late", "timeout"] == seen["late",]
    eventually(lambda: exporter.zombies() == 0, what="no zombie is left of more than forty orphans")


def test_process_1_drains_at_sigterm_and_ends_with_0(init):
    exporter = init(WELL, "--shutdown-delay", "3")
    eventually(lambda: get(f"{exporter.url}/readyz").status == 200)
    exporter.itself.send_signal(signal.SIGTERM)

    eventually(lambda: get(f"{exporter.url}/readyz").status == 503)
    assert get(f"{exporter.url}/livez").status == 200
    assert exporter.wait() == 0
    assert exporter.line("msg=stopped")
