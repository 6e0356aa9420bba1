"""The exporter's own files on a mount that stops responding, or with a FIFO in their place.

A call on such a mount cannot be interrupted, not even by SIGKILL. So the process ends only after the mount responds
again or is gone; what the tests assert is that nothing in the exporter waits for it.
"""

import os
import signal
import sys
from pathlib import Path

import pytest
from faults.fuse import mounted
from support import Exporter, Process, ended, eventually, get
from web_files import TLS, issue

OK = "checks: [{name: ok, exec: {command: ['true']}, periodSeconds: 1, groups: [liveness]}]\n"
NEW = "checks: [{name: new, exec: {command: ['true']}, periodSeconds: 1, groups: [liveness]}]\n"
RUNS = 'health_check_runs_total{check="ok",kind="exec"}'
RELOADED = "health_exporter_config_last_reload_successful"


@pytest.fixture
def mount(tmp_path):
    with mounted(tmp_path) as mount:
        yield mount


def test_a_configuration_that_hangs_stops_no_check_no_answer_and_not_the_end(mount):
    (mount.files / "health.yml").write_text(OK)
    with ended(Exporter("--web.enable-lifecycle", config=mount.path / "health.yml")) as exporter:
        eventually(lambda: exporter.metrics()[RUNS] >= 1)
        mount.hang()
        exporter.line("configuration not loaded; keeping the previous one.*no response")
        runs = exporter.metrics()[RUNS]
        eventually(lambda: exporter.metrics()[RUNS] >= runs + 2, what="runs go on")
        for _ in range(10):  # more than the threads that serve requests
            assert exporter.get("/-/reload", method="POST").status == 500
            assert exporter.get("/-/healthy").status == 200
        assert exporter.metrics()[RELOADED] == 0

        (mount.files / "health.yml").write_text(NEW)
        mount.release()
        eventually(lambda: exporter.get("/healthz/new").status == 200)
        assert exporter.metrics()[RELOADED] == 1

        mount.hang()
        eventually(mount.waiting)
        exporter.signal(signal.SIGTERM)
        exporter.line("msg=stopped")
        mount.release()
        assert exporter.wait() == 0


def test_a_fifo_in_place_of_the_configuration_is_a_failed_reload(start, tmp_path):
    exporter = start(OK, "--web.enable-lifecycle")
    eventually(lambda: exporter.metrics()[RUNS] >= 1)
    (tmp_path / "health.yml").unlink()
    os.mkfifo(tmp_path / "health.yml")
    exporter.line("configuration not loaded; keeping the previous one.*it is a FIFO, not a regular file")
    answer = exporter.get("/-/reload", method="POST")

    assert answer.status == 500
    assert answer.text.endswith("health.yml: cannot be read: it is a FIFO, not a regular file\n")
    assert exporter.get("/livez").status == 200
    exporter.signal(signal.SIGTERM)
    assert exporter.wait() == 0


@pytest.mark.parametrize("option", ["--config.file", "--web.config.file"])
@pytest.mark.parametrize("fault", ["FIFO", "hung"])
def test_a_start_with_a_file_that_hangs_ends_with_one_line(mount, tmp_path, option, fault):
    path = tmp_path / "fifo" if fault == "FIFO" else mount.path / "file"
    os.mkfifo(tmp_path / "fifo")
    mount.hang("stat")
    with ended(Exporter("--config.strict", option, str(path))) as exporter:
        try:
            exporter.line(
                f"^{path}: cannot be read: (it is a FIFO, not a regular file|no response in time|still no .*)$"
            )
        finally:
            mount.release()
        assert exporter.wait() == 2
        assert len(exporter.lines) == 1


def test_a_command_with_a_file_that_hangs_ends_with_one_line(mount):
    mount.hang()
    with ended(Process([sys.executable, "-m", "exporter", "check", "--config.file", str(mount.path / "f")])) as process:
        try:
            process.line("cannot be read: no response in time$")
        finally:
            mount.release()
        assert process.wait() == 2
        assert len(process.lines) == 1


OPTIONS = (
    "httpGet: {port: 1, bearerToken: {file: FILE}}",
    "httpGet: {port: 1, basicAuth: {username: u, password: {file: FILE}}}",
    "httpGet: {port: 1, scheme: HTTPS, verifyTLS: true, caFile: FILE}",
    "httpGet: {port: 1, scheme: HTTPS, clientCertificate: {certFile: FILE, keyFile: FILE}}",
    "promql: {url: 'https://127.0.0.1:1', query: up, caFile: FILE}",
    "promql: {url: 'http://127.0.0.1:1', query: up, bearerToken: {file: FILE}}",
    "redis: {port: 1, password: {file: FILE}}",
    "amqp: {port: 1, password: {file: FILE}}",
    "mysql: {port: 1, username: u, password: {file: FILE}}",
    "postgresql: {port: 1, username: u, caFile: FILE}",
    "process: {pidFile: FILE}",
)


def test_checks_whose_files_hang_end_by_their_deadlines_and_name_the_files(start, mount):
    mount.hang()
    hung = {f"hung{number}": options for number, options in enumerate(OPTIONS)}
    files = {name: f"{mount.path / name}" for name in hung}
    checks = [f"{{name: {name}, {hung[name].replace('FILE', files[name])}, periodSeconds: 1}}" for name in hung]
    checks += [
        f"{{name: command, exec: {{command: [{mount.path}/command]}}, periodSeconds: 1}}",
        f"{{name: socket, httpGet: {{port: 1, unixSocket: {mount.path}/socket}}, periodSeconds: 1}}",
    ]
    exporter = start(OK.replace("]}]\n", "]}" + "".join(f", {check}" for check in checks) + "]\n"))
    others = {"command": "exec", "socket": "httpGet"}
    runs = [f'health_check_runs_total{{check="{name}",kind="{hung[name].partition(":")[0]}"}}' for name in hung]
    eventually(lambda: min(exporter.metrics().get(sample, 0) for sample in runs) >= 4, what="the runs are counted")
    metrics, page = exporter.metrics(), exporter.get("/").text

    for name, options in hung.items():
        kind = options.partition(":")[0]
        assert metrics[f'health_check_reason{{check="{name}",kind="{kind}",reason="timeout"}}'] == 1
        assert f"the file {files[name]}: still no response" in page
    for name, kind in others.items():
        assert metrics[f'health_check_reason{{check="{name}",kind="{kind}",reason="timeout"}}'] == 1
    assert "health_exporter_workers_stuck" not in metrics
    assert metrics[RUNS] >= 4
    assert mount.waiting() <= len(checks)  # none of them was read again

    mount.release()
    eventually(lambda: "still no response" not in exporter.get("/").text, what="they are read again")


def test_a_certificate_that_hangs_is_not_loaded_and_a_later_one_is(mount, authority):
    issue(authority, mount.files)
    (mount.files / "web.yml").write_text(TLS)
    with ended(Exporter("--web.config.file", str(mount.path / "web.yml"), "--probe.listen-address", "127.0.0.1:0")) as (
        exporter
    ):
        probes = exporter.line(r"address=(http://\S+)/").group(1)
        mount.hang()
        exporter.line("certificate not loaded; keeping the previous one.*no response")
        assert get(f"{probes}/livez").status == 200

        issue(authority, mount.files)
        mount.release()
        exporter.line('msg="certificate loaded"')
        mount.hang()
        eventually(mount.waiting)
        exporter.signal(signal.SIGTERM)
        exporter.line("msg=stopped")
        mount.release()
        assert exporter.wait() == 0


def test_only_the_reader_opens_paths_of_the_configuration():
    """The others open what the kernel and the package provide.

    `ask` and the commands that print a manifest or a configuration are processes of their own, which read a file and
    end; the program of `host.path_calls` runs in processes that may block.
    """
    house = Path(__file__).parents[2] / "exporter"
    opening = {
        path.relative_to(house).as_posix()
        for path in house.rglob("*.py")
        for line in path.read_text().splitlines()
        if "os.devnull" not in line
        and any(call in line for call in (".open(", " open(", "os.open(", ".read_bytes(", ".read_text("))
    }

    processes = {"ask.py", "cli/parts.py", "host/path_calls.py"}
    kernel = {"host/proc.py", "host/container.py", "host/folders.py", "keeper/worker.py"}
    methods = {"probe/of.py", "manifests/writer.py"}  # of other things than files
    threads = {"server/segments.py"}  # of its own
    assert opening <= {*processes, *kernel, *methods, *threads, "host/reader.py", "render/html.py"}


def test_a_history_that_hangs_stops_no_check_no_answer_and_not_the_end(mount, tmp_path):
    (tmp_path / "health.yml").write_text(OK)
    mount.hang()
    with ended(
        Exporter("--history.file", str(mount.path / "history.jsonl"), config=tmp_path / "health.yml")
    ) as exporter:
        eventually(lambda: exporter.get("/livez").status == 200 and exporter.metrics()[RUNS] >= 1)
        eventually(mount.waiting)
        runs = exporter.metrics()[RUNS]
        eventually(lambda: exporter.metrics()[RUNS] >= runs + 2, what="runs go on")
        assert "check ok: unknown -> pass" in exporter.get("/events").text
        exporter.signal(signal.SIGTERM)
        exporter.line("msg=stopped")
        mount.release()
        assert exporter.wait() == 0
