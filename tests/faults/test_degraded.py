"""A start without a valid configuration: the application stays alive, a rollout stops, and a valid file is enough."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import psutil
import pytest
from faults.cgroups import cgroup
from faults.fuse import mounted
from support import PATIENCE, Exporter, Process, ended, eventually, free_port, get

VALID = "checks: [{name: ok, exec: {command: ['true']}, periodSeconds: 1, groups: [liveness, readiness, startup]}]\n"
MISTYPED = VALID.replace("exec", "exce")
RELOADED = "health_exporter_config_last_reload_successful"
LOADED = "health_exporter_config_last_reload_success_timestamp_seconds"
RESTARTS = "health_exporter_worker_restarts_total"
UP = 'health_group_up{group="%s"}'
PROBES = ("/livez", "/readyz", "/startupz", "/healthz", "/-/healthy", "/-/ready")
DEGRADED = [200, 503, 503, 503, 200, 503]


def statuses(exporter: Exporter) -> list[int]:
    return [exporter.get(path).status for path in PROBES]


def write_nothing(path: Path) -> None:
    """The file is missing."""


def write_mistyped(path: Path) -> None:
    path.write_text(MISTYPED)


def write_half(path: Path) -> None:
    path.write_text(VALID[:40])


def write_bytes(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


def write_unset_variable(path: Path) -> None:
    path.write_text("checks: [{name: api, httpGet: {host: $(NO_SUCH_ADDRESS), port: 1}}]\n")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.mkdir()


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (write_nothing, "cannot be read: No such file or directory"),
    "mistyped": (write_mistyped, "checks[0].exce: unknown key, did you mean exec?"),
    "half-written": (write_half, "health.yml:1: not YAML: a quote is not closed"),
    "binary": (write_bytes, "health.yml"),
    "unset variable": (write_unset_variable, "the environment variable NO_SUCH_ADDRESS is not set"),
    "fifo": (make_fifo, "it is a FIFO, not a regular file"),
    "folder": (make_folder, "the folder has no *.yml or *.yaml files"),
}


def fix(path: Path) -> None:
    """Put a valid file in place of whatever is there."""
    if path.is_dir():
        path.rmdir()
    new = path.with_name("new.yml")
    new.write_text(VALID)
    new.rename(path)


@pytest.mark.parametrize(("break_", "complaint"), BROKEN.values(), ids=BROKEN)
def test_a_start_with_a_broken_configuration_is_alive_and_not_ready_until_it_is_fixed(tmp_path, break_, complaint):
    config = tmp_path / "health.yml"
    break_(config)
    with ended(Exporter(config=config)) as exporter:
        assert statuses(exporter) == DEGRADED
        answer = exporter.get("/readyz")
        document = json.loads(exporter.get("/readyz?format=json").body)
        page, metrics = exporter.get("/").text, exporter.metrics()
        logged = exporter.line('level=error msg="configuration not loaded; /readyz returns 503 until it is valid"')

        assert answer.text == "[-]configuration failed: not loaded\nreadyz check failed\n"
        assert (document["status"], document["notes"]) == ("fail", ["the configuration is not loaded"])
        assert complaint in logged.string
        assert complaint in unescape(page)
        assert metrics[RELOADED] == 0
        assert LOADED not in metrics
        assert [metrics.get(UP % group) for group in ("liveness", "readiness", "startup", "all")] == [None, 0, 0, 0]

        fix(config)
        eventually(lambda: statuses(exporter) == [200] * len(PROBES), what="it is ready")
        metrics = exporter.metrics()
        assert metrics[RELOADED] == 1
        assert metrics[LOADED] > 0
        assert metrics[RESTARTS] == 0
        assert "not loaded" not in exporter.get("/").text

        exporter.signal(signal.SIGTERM)
        assert exporter.wait() == 0


def test_it_can_be_asked_and_the_reason_is_shown(tmp_path):
    (tmp_path / "health.yml").write_text(MISTYPED)
    with ended(Exporter(config=tmp_path / "health.yml")) as exporter:
        asked = {
            endpoint: subprocess.run(
                [sys.executable, "-m", "exporter", "ask", endpoint, "--timeout", "60", "--url", exporter.url],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
            for endpoint in ("livez", "readyz", "exporter")
        }

    assert [done.returncode for done in asked.values()] == [0, 1, 0]
    assert "the configuration is not loaded" in asked["readyz"].stdout


def test_a_request_and_a_signal_reload_as_always(tmp_path):
    (tmp_path / "health.yml").write_text(MISTYPED)
    with ended(Exporter("--web.enable-lifecycle", config=tmp_path / "health.yml")) as exporter:
        refused = exporter.get("/-/reload", method="POST")
        logged = len(exporter.lines)
        exporter.signal(signal.SIGHUP)
        exporter.line("configuration not loaded", after=logged)
        fix(tmp_path / "health.yml")

        assert refused.status == 500
        assert refused.text.startswith("failed to reload the configuration; /readyz returns 503 until it is valid:\n")
        assert "checks[0].exce: unknown key, did you mean exec?" in refused.text
        assert exporter.get("/-/reload", method="POST").status == 200
        eventually(lambda: exporter.get("/readyz").status == 200)


def test_sigterm_ends_it(tmp_path):
    with ended(Exporter(config=tmp_path / "missing.yml")) as exporter:
        assert exporter.get("/livez").status == 200
        exporter.signal(signal.SIGTERM)
        assert exporter.wait() == 0


def test_a_strict_start_ends_with_every_complaint(tmp_path):
    (tmp_path / "health.yml").write_text(MISTYPED)
    with ended(Exporter("--config.strict", config=tmp_path / "health.yml")) as exporter:
        assert exporter.wait() == 2
        assert all(line.startswith(f"{tmp_path}/health.yml:1: ") for line in exporter.lines)


def test_a_start_with_a_file_that_hangs_is_alive(tmp_path):
    with mounted(tmp_path) as mount:
        (mount.files / "health.yml").write_text(VALID)
        mount.hang()
        with ended(Exporter(config=mount.path / "health.yml")) as exporter:
            try:
                exporter.line("configuration not loaded; /readyz returns 503 until it is valid.*no response")
                assert statuses(exporter) == DEGRADED
            finally:
                mount.release()
            eventually(lambda: exporter.get("/readyz").status == 200, what="it is read without a change of the file")


def test_a_start_with_a_broken_plugin_is_alive(tmp_path):
    (tmp_path / "broken_kind.py").write_text("1 / 0\n")
    described = tmp_path / "broken_kind-2.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-kind\nVersion: 2.0\n")
    (described / "entry_points.txt").write_text("[health_exporter.probes]\nbroken = broken_kind:Kind\n")
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    with ended(Exporter(env=env)) as exporter:
        exporter.line("configuration not loaded; .*the kind broken of broken-kind 2.0 cannot be loaded")

        assert statuses(exporter) == DEGRADED
        assert exporter.metrics()[RELOADED] == 0


def test_a_start_without_threads_is_alive_until_there_are_some(tmp_path):
    checks = (f"{{name: n{number}, loadAverage: {{failRatio: 1000}}, periodSeconds: 1}}" for number in range(60))
    (tmp_path / "health.yml").write_text(f"checks: [{', '.join(checks)}]\n")
    with cgroup(pids=40) as limited:
        serve = [sys.executable, "-m", "exporter", "serve", "--config.file", str(tmp_path / "health.yml")]
        with ended(RestrictedExporter([*limited.prefix, *serve, "--web.listen-address", "127.0.0.1:0"])) as exporter:
            exporter.line("configuration not loaded; /readyz returns 503 until it is valid.*can't start new thread")
            assert statuses(exporter) == DEGRADED

            limited.limit(pids=None)
            eventually(lambda: exporter.get("/readyz").status == 200, what="it is loaded without a change of the file")


class RestrictedExporter(Exporter):
    """The exporter, started by a command of another kind."""

    def __init__(self, command: list[str]) -> None:
        Process.__init__(self, command)


# The keeper


@contextmanager
def probing(url: str, seen: list[int]) -> Iterator[None]:
    """Ask for liveness all the time, and note the status of each answer; a connection that breaks has none."""
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.01):
            try:
                seen.append(get(f"{url}/livez").status)
            except (OSError, http.client.HTTPException):
                continue

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield
    finally:
        over.set()
        client.join()


def worker_of(exporter: Exporter) -> psutil.Process:
    (worker,) = psutil.Process(exporter.pid).children()
    return worker


def test_a_crash_changes_nothing_about_it(tmp_path):
    """A next worker is degraded too, liveness never fails, generations grow, and a valid file is enough."""
    config = tmp_path / "health.yml"
    config.write_text(MISTYPED)
    seen: list[int] = []
    url = f"http://127.0.0.1:{free_port()}"
    with ended(Exporter("--web.listen-address", url.removeprefix("http://"), config=config)) as exporter:
        exporter.line("msg=listening")
        before = exporter.get("/readyz")
        with probing(url, seen):
            lines = len(exporter.lines)
            worker_of(exporter).kill()
            exporter.line("msg=listening", after=lines)
            after = eventually(lambda: (answer := exporter.get("/readyz")).generation and answer)
            fix(config)
            eventually(lambda: exporter.get("/readyz").status == 200)
        assert exporter.metrics()[RESTARTS] == 1

    assert after.text == before.text == "[-]configuration failed: not loaded\nreadyz check failed\n"
    assert after.generation > before.generation
    assert set(seen) == {200}


def test_a_strict_exporter_that_serves_does_not_end_because_of_a_broken_file(tmp_path):
    """A worker that follows another one continues with its configuration."""
    config = tmp_path / "health.yml"
    config.write_text(VALID)
    with ended(Exporter("--config.strict", config=config)) as exporter:
        eventually(lambda: exporter.get("/readyz").status == 200)
        config.write_text(MISTYPED)
        exporter.line("configuration not loaded; keeping the previous one")
        lines = len(exporter.lines)
        worker_of(exporter).kill()
        exporter.line("configuration not loaded; keeping the previous one", after=lines)
        eventually(lambda: exporter.get("/readyz").status == 200)
        assert exporter.metrics()[RELOADED] == 0
