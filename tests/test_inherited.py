"""A parent process that ignores or blocks signals, or closes the standard streams."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from support import PATIENCE, Exporter, Process, ended, eventually, free_port, get

CONFIG = """
checks:
  - {name: good, exec: {command: ["true"]}, periodSeconds: 1, failureThreshold: 1}
  - {name: bad, exec: {command: ["false"]}, periodSeconds: 1, failureThreshold: 1}
"""
UP = 'health_check_up{check="%s",kind="exec"}'
REASON = 'health_check_reason{check="bad",kind="exec",reason="exit"}'
PARENT = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.execv(sys.executable, [sys.executable, "-m", "exporter", *sys.argv[1:]])
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "health.yml").write_text(CONFIG)
    return tmp_path / "health.yml"


class Child(Exporter):
    """`health-exporter serve`, started by a parent that ignores and blocks every signal it can."""

    def __init__(self, config: Path) -> None:
        options = ["--config.file", str(config), "--web.listen-address", "127.0.0.1:0", "--shutdown-delay", "0"]
        Process.__init__(self, [sys.executable, "-c", PARENT, "serve", *options])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_every_verdict_is_right_and_signals_end_it(config, number):
    with ended(Child(config)) as exporter:
        eventually(lambda: exporter.metrics()[UP % "good"] == 1 and exporter.metrics().get(REASON) == 1)
        assert exporter.metrics()[UP % "bad"] == 0
        assert exporter.get("/healthz/good").status == 200

        config.write_text("checks: [{name: new, exec: {command: ['true']}}]\n")
        exporter.signal(signal.SIGHUP)
        eventually(lambda: exporter.get("/healthz/new").status == 200)
        exporter.signal(number)
        assert exporter.wait() == 0


def test_check_has_the_right_exit_code(config):
    command = [sys.executable, "-c", PARENT, "check", "--config.file", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    good = subprocess.run([*command, "--name", "good"], capture_output=True, text=True, timeout=PATIENCE)

    assert (done.returncode, good.returncode) == (1, 0), done.stdout + done.stderr


def test_with_closed_standard_streams_no_socket_gets_their_numbers(config):
    port = free_port()
    serve = f"{sys.executable} -m exporter serve --web.listen-address 127.0.0.1:{port} --config.file {config}"
    with subprocess.Popen(["sh", "-c", f"exec {serve} --shutdown-delay 0 <&- >&- 2>&-"]) as child:
        try:
            eventually(lambda: is_healthy(port, "good"))
            streams = [str(Path(f"/proc/{child.pid}/fd/{number}").readlink()) for number in range(3)]
            assert streams == ["/dev/null"] * 3
            assert not is_healthy(port, "bad")
            child.send_signal(signal.SIGTERM)
            assert child.wait(PATIENCE) == 0
        finally:
            child.kill()


def is_healthy(port: int, name: str) -> bool:
    with suppress(OSError):
        return get(f"http://127.0.0.1:{port}/healthz/{name}").status == 200
    return False


def test_nohup_is_respected_by_check():
    """A hangup does not end a program that was started with nohup; SIGTERM does."""
    script = (
        "import signal; from exporter.inherited import reset; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); reset();"
        "print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)

    assert done.stdout == "True True\n", done.stderr


def test_the_module_imports_nothing_that_python_has_not_loaded():
    script = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules);"
        "import exporter.inherited; print(sorted(set(sys.modules) - before))"
    )
    root = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, "-I", "-c", script, root], capture_output=True, text=True, timeout=PATIENCE)

    assert done.stdout == "['exporter', 'exporter.inherited']\n", done.stderr
