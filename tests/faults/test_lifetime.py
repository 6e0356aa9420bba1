"""Restarts, reloads, stops, environments and standard streams that go wrong."""

import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
from faults.namespaces import Namespaces, namespaces
from faults.prober import probing
from faults.samples import sample
from faults.usage import count_descriptors, count_threads, list_processes, measure_memory
from faults.webs import OK, webs
from support import Exporter, command, ended, eventually, get

MIB = 2**20
CHECK = "{{name: {0}, exec: {{command: ['true']}}, periodSeconds: 1, groups: [liveness, readiness]}}"


def test_after_a_kill_counters_begin_at_0_and_unknown_times_are_absent(start):
    responses = iter([OK])
    with webs(("127.0.0.1", 0), respond=lambda index: next(responses, None)) as servers:
        yaml = (
            f"checks: [{{name: web, httpGet: {{port: {servers.ports[0]}}}, periodSeconds: 600, timeoutSeconds: 600}}]"
        )
        first = start(yaml)
        first.line("check web: unknown -> pass")
        assert first.metrics()[sample("runs_total", "web")] == 1
        for member in list_processes(first):
            member.kill()
        first.wait()

        second = start(yaml)
        eventually(lambda: servers.requests[0] == 2, what="the first run has begun")
        metrics = second.metrics()

    assert metrics[sample("runs_total", "web")] == 0
    times = [sample(f"last_{what}_timestamp_seconds", "web") for what in ("run", "pass", "transition")]
    assert not metrics.keys() & set(times)


def test_reloads_with_new_names_leave_nothing_behind(start, tmp_path):
    """Not series, threads, descriptors or memory."""
    config = tmp_path / "health.yml"

    def write(version: int) -> None:
        names = ", ".join(CHECK.format(f"v{version}-{number}") for number in range(10))
        (tmp_path / "new").write_text(f"checks: [{names}]")
        (tmp_path / "new").replace(config)

    def load(version: int) -> None:
        write(version)
        eventually(lambda: exporter.get("/-/reload", method="POST").status == 200)

    def count_series() -> int:
        metrics = exporter.metrics()
        return sum("check=" in name for name in metrics)

    write(0)
    exporter = start(None, "--config.file", str(config), "--web.enable-lifecycle")
    for version in range(1, 20):
        load(version)
    eventually(lambda: exporter.get("/readyz").status == 200)
    before = count_series(), count_threads(exporter), count_descriptors(exporter)
    memory = measure_memory(exporter)
    for version in range(20, 120):
        load(version)
    eventually(lambda: exporter.get("/readyz").status == 200)

    assert {name.split('"')[1][:5] for name in exporter.metrics() if "check=" in name} == {"v119-"}
    eventually(lambda: count_series() == before[0])
    # One thread or descriptor for each reload would be a hundred more; a pool may have grown by a few.
    eventually(lambda: count_threads(exporter) < before[1] + 10)
    eventually(lambda: count_descriptors(exporter) < before[2] + 10)
    assert measure_memory(exporter) < memory + 2 * MIB


def test_a_configmap_that_is_swapped_all_the_time_is_loaded_whole(start, tmp_path):
    """Its two versions have different pairs of checks, and no answer ever shows half of each."""
    for version in ("a", "b"):
        (tmp_path / version).mkdir()
        checks = ", ".join(CHECK.format(f"{version}{number}") for number in range(2))
        (tmp_path / version / "health.yml").write_text(f"checks: [{checks}]\n")
    (tmp_path / "..data").symlink_to("a")
    (tmp_path / "health.yml").symlink_to("..data/health.yml")
    exporter = start(None, "--config.file", str(tmp_path / "health.yml"))
    shown = set()
    with probing(f"{exporter.url}/livez"):
        for number in range(300):
            (tmp_path / "..data_tmp").symlink_to("ab"[number % 2])
            (tmp_path / "..data_tmp").rename(tmp_path / "..data")
            if number % 10 == 0:
                exporter.signal(signal.SIGHUP)
                lines = exporter.get("/healthz?verbose").text.splitlines()
                shown.add(frozenset(line[3:5] for line in lines if line.startswith("[")))
        exporter.signal(signal.SIGHUP)
        eventually(lambda: exporter.get("/healthz/b1").status == 200, what="the last version is loaded")

    assert shown <= {frozenset({"a0", "a1"}), frozenset({"b0", "b1"})}
    assert not [line for line in exporter.lines if "level=error" in line]
    assert exporter.metrics()["health_exporter_config_last_reload_successful"] == 1


def test_sigterm_does_not_wait_for_a_scrape_that_is_not_read(start):
    checks = ", ".join(CHECK.format(f"check-{number}").replace("1,", "600,", 1) for number in range(300))
    exporter = start(f"checks: [{checks}]", "--shutdown-delay", "1")
    address = exporter.url.removeprefix("http://").split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((address[0], int(address[1])))
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1)
        exporter.signal(signal.SIGTERM)
        exporter.line("shutting down")
        assert exporter.get("/livez").status == 200
        assert exporter.get("/readyz").status == 503

        assert exporter.wait() == 0  # and the client still has not read


def test_a_full_disk_under_standard_output_stops_nothing(tmp_path):
    config = tmp_path / "health.yml"
    config.write_text(f"checks: [{CHECK.format('ok')}]")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "{}:{}".format(*server.getsockname())
    flags = ["--web.listen-address", address]
    with ended(Exporter(*flags, config=config, prefix=["sh", "-c", 'exec "$@" >/dev/full 2>&1', "sh"])) as exporter:
        eventually(lambda: is_ready(f"http://{address}"))
        exporter.signal(signal.SIGTERM)
        assert exporter.wait() == 0


def is_ready(url: str) -> bool:
    try:
        return get(f"{url}/readyz").status == 200
    except OSError:
        return False


def test_the_metrics_are_not_shared_between_processes(start, tmp_path):
    """PROMETHEUS_MULTIPROC_DIR is meant for the application that the exporter runs beside."""

    def list_families(environment: dict[str, str]) -> list[bytes]:
        exporter = start(f"checks: [{CHECK.format('ok')}]", env=environment)
        eventually(lambda: exporter.get("/readyz").status == 200)
        return sorted(re.findall(rb"^# TYPE .*", exporter.get("/metrics").body, re.MULTILINE))

    families = list_families({})

    assert list_families({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}) == families
    assert list_families({"PROMETHEUS_MULTIPROC_DIR": "/missing"}) == families
    assert not [*tmp_path.glob("*.db")]


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONOPTIMIZE": "2"}, {"PYTHONWARNINGS": "error"}, {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "always"}],
    ids=" ".join,
)
def test_modes_of_python_change_nothing_and_warn_of_nothing(start, environment):
    exporter = start(
        f"checks: [{CHECK.format('ok')}, {{name: load, loadAverage: {{failRatio: 1000}}}}]",
        "--web.enable-lifecycle",
        env=environment,
    )
    eventually(lambda: exporter.get("/readyz").status == 200)
    for path in ("/livez", "/readyz?verbose", "/healthz?format=json", "/metrics", "/", "/-/healthy", "/-/ready"):
        assert exporter.get(path).status == 200
    assert exporter.get("/-/reload", method="POST").status == 200
    exporter.signal(signal.SIGTERM)

    assert exporter.wait() == 0
    assert not [line for line in exporter.lines if "Warning" in line or "Traceback" in line]


def test_a_user_without_a_home_or_a_writable_folder_can_run_it(start, tmp_path):
    """As in a container with an arbitrary user and a read-only filesystem."""
    with namespaces("mounts") as inside:
        expose(inside, Path(sys.base_prefix))
        expose(inside, tmp_path)
        inside(tmp_path.chmod, 0o755)
        for path in ("/", "/tmp", "/dev/shm", "/run"):
            if Path(path).is_mount():
                inside.run("mount", "-o", "remount,bind,ro", path)
        user = [command("setpriv"), "--reuid=12345", "--regid=12345", "--clear-groups", "--bounding-set=-all"]
        environment = ["env", "-i", f"PATH={os.environ['PATH']}", f"PYTHONPATH={os.environ.get('PYTHONPATH', '')}"]
        prefix = ["sh", "-c", 'umask 077; exec "$@"', "sh", *user, *environment]
        exporter = inside(start, f"checks: [{CHECK.format('ok')}]", prefix=prefix)
        eventually(lambda: exporter.get("/readyz").status == 200)
        for path in ("/metrics", "/", "/-/healthy"):
            assert exporter.get(path).status == 200
        assert {member.uids().real for member in list_processes(exporter)} == {12345}
        exporter.signal(signal.SIGTERM)

        assert exporter.wait() == 0
    assert not [line for line in exporter.lines if "level=error" in line or "Traceback" in line]


def expose(inside: Namespaces, folder: Path) -> None:
    """Let every user reach a folder, although one above it is closed to others: put an open one in its place."""
    closed = [parent for parent in folder.parents if not parent.stat().st_mode & 0o001]
    if closed:
        inside.run("mount", "--bind", str(folder), "/mnt")
        inside.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(closed[-1]))
        inside(lambda: folder.mkdir(mode=0o755, parents=True))
        inside.run("mount", "--bind", "/mnt", str(folder))


def test_without_a_scraper_nothing_accumulates(start):
    """Prometheus has gone, and hundreds of runs take place."""
    with webs(("127.0.0.1", 0)) as servers:
        responses = f"httpGet: {{port: {servers.ports[0]}, path: /x}}, periodSeconds: 1, failureThreshold: 1"
        exporter = start(f"checks: [{', '.join(f'{{name: web{number}, {responses}}}' for number in range(100))}]")
        eventually(lambda: exporter.get("/readyz").status == 200)
        assert exporter.get("/metrics").status == 200
        before = len(exporter.get("/metrics").body)
        eventually(lambda: servers.requests[0] >= 200)
        memory = measure_memory(exporter)
        eventually(lambda: servers.requests[0] >= 600)

        assert measure_memory(exporter) < memory + MIB
        assert abs(len(exporter.get("/metrics").body) - before) < before / 50
