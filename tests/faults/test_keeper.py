"""The keeper: whatever happens to the worker, liveness is answered with 200, and another worker follows."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from faults.fuse import mounted
from support import PATIENCE, Answer, Exporter, ended, eventually, free_port, get, unavailable

CHECKS = """
checks:
  - {name: ok, exec: {command: ["true"]}, periodSeconds: 1, groups: [liveness, readiness, startup]}
"""
SABOTAGE = Path(__file__).with_name("sabotage")
RESTARTS = "health_exporter_worker_restarts_total"
GENERATION = "health_snapshot_generation"


class Sabotaged(Exporter):
    """The exporter on a port that is known before it listens, with faults on demand (see sabotage/)."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        config = folder / "health.yml"
        config.write_text(CHECKS)
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        path = os.pathsep.join([str(SABOTAGE), os.environ.get("PYTHONPATH", "")])
        env = {"SABOTAGE": str(folder), "PYTHONPATH": path}
        super().__init__("--web.listen-address", self.address, *arguments, config=config, env=env)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def order(self, what: str) -> None:
        """Let the worker do this: `segfault`, `eat` memory, `block SECONDS`, or `read PATH`."""
        (self.folder / "order").write_text(what)
        os.kill(self.worker, signal.SIGUSR1)

    def status(self, path: str) -> int:
        """The status of an answer; 0 if there is none."""
        with suppress(OSError, http.client.HTTPException):
            return self.get(path).status
        return 0

    def await_worker(self, after: int = 0) -> int:
        """Wait until a worker serves that is not this one; returns its PID."""
        eventually(lambda: self.worker != after and self.status("/readyz") == 200, what="a worker is ready")
        return self.worker


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Sabotaged]]:
    started: list[Sabotaged] = []

    def start(*arguments: str) -> Sabotaged:
        started.append(Sabotaged(tmp_path, *arguments))
        return started[-1]

    yield start
    for exporter in started:
        exporter.end()


@dataclass
class Seen:
    """What a client saw that asked again and again."""

    statuses: list[int] = field(default_factory=list)
    generations: list[int] = field(default_factory=list)
    resets: int = 0


@contextmanager
def asking(exporter: Sabotaged, path: str) -> Iterator[Seen]:
    """Ask all the time, over a new connection each time, as a kubelet does."""
    seen, over = Seen(), threading.Event()

    def ask() -> None:
        while not over.wait(0.01):
            try:
                answer = exporter.get(path)
            except (OSError, http.client.HTTPException):
                seen.resets += 1
            else:
                seen.statuses.append(answer.status)
                seen.generations.append(answer.generation)

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield seen
    finally:
        over.set()
        client.join()


def test_crashes_of_every_kind_leave_liveness_alone(serve):
    """A request that the worker had already accepted is reset; none is refused, and none is answered with 503."""
    exporter = serve("--shutdown-delay", "1")
    worker = exporter.await_worker()
    faults = [signal.SIGKILL, signal.SIGSTOP, "segfault", signal.SIGABRT, signal.SIGBUS]

    with asking(exporter, "/livez") as live, asking(exporter, "/readyz") as ready:
        for fault in faults:
            time.sleep(2)  # a worker that has served for so long is replaced at once
            if isinstance(fault, str):
                exporter.order(fault)
            else:
                os.kill(worker, fault)
            worker = exporter.await_worker(after=worker)
    metrics = exporter.metrics()

    assert set(live.statuses) == {200}
    assert live.resets <= len(faults)
    assert set(ready.statuses) == {200, 503}
    for seen in (live, ready):
        known = [generation for generation in seen.generations if generation]
        assert known == sorted(known)
        assert 0 in seen.generations
    assert all(status == 503 for status, number in zip(ready.statuses, ready.generations, strict=True) if number == 0)
    assert metrics[RESTARTS] == len(faults)
    assert metrics[GENERATION] >= max(live.generations)
    assert metrics['health_answers_total{code="200",group="liveness"}'] >= live.generations.count(0)
    assert metrics['health_answers_total{code="503",group="readiness"}'] >= ready.generations.count(0)
    ends = [line for line in exporter.lines if 'msg="the worker has ended"' in line]
    assert [re.findall(r"signal=(\w+)", line)[0] for line in ends] == [
        {"segfault": "SIGSEGV", signal.SIGSTOP: "SIGKILL"}.get(fault) or signal.Signals(fault).name for fault in faults
    ]
    assert all(line.endswith("next_start_in=0.0") for line in ends)
    exporter.signal(signal.SIGTERM)
    assert exporter.wait() == 0


def test_it_answers_before_the_libraries_are_loaded(serve, tmp_path):
    (tmp_path / "wait").touch()
    exporter = serve()
    answers = {path: eventually(lambda path=path: ask_once(exporter, path)) for path in ("/livez", "/readyz")}
    others = {path: exporter.get(path) for path in ("/-/healthy", "/livez/any", "/livez?verbose", "/metrics", "/")}

    assert answers["/livez"].text == "ok"
    assert answers["/readyz"].text == "Health Exporter is starting.\n"
    assert answers["/readyz"].headers["Retry-After"] == "1"
    assert [answer.status for answer in others.values()] == [200, 200, 200, 503, 503]
    assert others["/-/healthy"].text == "Health Exporter is healthy.\n"
    assert others["/livez?verbose"].text == "livez check passed\n"
    assert {answer.generation for answer in (*answers.values(), *others.values())} == {0}
    assert exporter.lines == []
    assert [run_ask(exporter, endpoint) for endpoint in ("livez", "exporter", "readyz", "healthz")] == [0, 0, 1, 1]

    (tmp_path / "wait").unlink()
    exporter.await_worker()
    expected = {name: exporter.get("/livez").headers[name] for name in ("Content-Type", "Cache-Control", "Connection")}
    assert {name: answers["/livez"].headers[name] for name in expected} == expected
    assert exporter.metrics()['health_answers_total{code="503",group="all"}'] >= 1


def ask_once(exporter: Sabotaged, path: str) -> Answer | None:
    with suppress(OSError):
        return exporter.get(path)
    return None


def run_ask(exporter: Sabotaged, endpoint: str) -> int:
    arguments = [sys.executable, "-m", "exporter", "ask", endpoint, "--url", exporter.url, "--timeout", "60"]
    return subprocess.run(arguments, capture_output=True, timeout=PATIENCE).returncode


def test_a_worker_that_dies_while_it_loads_is_started_again_with_a_growing_back_off(serve, tmp_path):
    (tmp_path / "crash").touch()
    exporter = serve()
    eventually(lambda: exporter.status("/livez"))
    with asking(exporter, "/livez") as live:
        for delay in ("1.0", "2.0"):
            exporter.line(rf'level=warn msg="the worker has ended" .*signal=SIGKILL .*next_start_in={delay}')
        assert exporter.status("/readyz") == 503
        (tmp_path / "crash").unlink()
        exporter.await_worker()

    assert set(live.statuses) == {200}
    assert live.resets == 0
    assert exporter.metrics()[RESTARTS] == 2
    assert exporter.status("/livez") == 200


def test_liveness_is_answered_while_the_interpreter_is_blocked(serve, tmp_path):
    exporter = serve()
    worker = exporter.await_worker()
    generations = []
    exporter.order("block 5")
    while not (tmp_path / "unblocked").exists():
        answer = exporter.get("/livez")
        assert answer.status == 200
        generations.append(answer.generation)
        time.sleep(0.05)

    assert 0 in generations
    eventually(lambda: exporter.get("/livez").generation > max(generations))
    assert exporter.await_worker() == worker
    assert exporter.metrics()[RESTARTS] == 0
    assert exporter.line('msg="the worker does not respond; /readyz returns 503"')


def test_a_worker_that_hangs_is_replaced(serve):
    exporter = serve()
    worker = exporter.await_worker()
    time.sleep(2)
    exporter.order("block 3600")

    with asking(exporter, "/livez") as live:
        exporter.line('level=warn msg="the worker does not respond; killing it"')
        exporter.await_worker(after=worker)

    assert set(live.statuses) == {200}
    assert exporter.metrics()[RESTARTS] == 1


def test_a_worker_that_cannot_be_killed_is_replaced(serve, tmp_path):
    """The kernel blocks it, on a mount that does not respond. At the end, nobody waits for it either."""
    with mounted(tmp_path) as mount:
        (mount.files / "file").touch()
        exporter = serve("--shutdown-delay", "0")
        worker = exporter.await_worker()
        mount.hang()
        exporter.order(f"read {mount.path}/file")
        with asking(exporter, "/livez") as live:
            exporter.line(f"the killed worker is blocked in the kernel; another one follows.* worker={worker}")
            another = exporter.await_worker(after=worker)
        assert psutil.pid_exists(worker)
        assert set(live.statuses) == {200}
        exporter.order(f"read {mount.path}/file")
        eventually(lambda: psutil.Process(another).status() == psutil.STATUS_DISK_SLEEP)
        exporter.signal(signal.SIGTERM)
        assert exporter.wait() == 0
        assert psutil.pid_exists(another)


def test_a_worker_that_cannot_read_its_configuration_ends_although_the_mount_blocks_it(tmp_path):
    """The worker is a zombie with a blocked thread, which nobody can reap."""
    with mounted(tmp_path) as mount:
        (mount.files / "health.yml").write_text("checks: []\n")
        mount.hang()
        with ended(Exporter("--config.strict", config=Path(mount.path) / "health.yml")) as exporter:
            assert exporter.wait() == 2
            assert (
                "cannot be read: still no response" in "\n".join(exporter.lines) or "no response" in exporter.lines[-1]
            )


def test_a_worker_that_follows_another_one_keeps_its_configuration_if_the_file_has_become_invalid(tmp_path):
    config = tmp_path / "health.yml"
    config.write_text("checks: [{name: before, exec: {command: ['true']}, periodSeconds: 1}]\n")
    with ended(Exporter(config=config)) as exporter:
        eventually(lambda: exporter.get("/healthz/before").status == 200)
        config.write_text("checks: [{name: after, exec: {command: []}}]\n")
        exporter.line("configuration not loaded; keeping the previous one")
        (worker,) = psutil.Process(exporter.pid).children()
        worker.kill()

        exporter.line("configuration not loaded; keeping the previous one", after=len(exporter.lines))
        eventually(lambda: exporter.get("/healthz/before").status == 200)
        assert exporter.metrics()["health_exporter_config_last_reload_successful"] == 0
        assert exporter.metrics()[RESTARTS] == 1

        config.write_text("checks: [{name: after, exec: {command: ['true']}, periodSeconds: 1}]\n")
        eventually(lambda: exporter.get("/healthz/after").status == 200)
        assert exporter.metrics()["health_exporter_config_last_reload_successful"] == 1


# Signals and exit codes


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_before_the_worker_serves_ends_both_at_once(serve, tmp_path, number, code):
    (tmp_path / "wait").touch()
    exporter = serve("--shutdown-delay", "3600")
    eventually(lambda: exporter.status("/livez"))
    (worker,) = psutil.Process(exporter.pid).children()

    exporter.signal(number)

    assert exporter.wait() == code
    assert not worker.is_running()
    assert exporter.lines == []


def test_sigterm_during_the_back_off_ends_the_keeper(serve, tmp_path):
    (tmp_path / "crash").touch()
    exporter = serve("--shutdown-delay", "3600")
    exporter.line("next_start_in=1.0")

    exporter.signal(signal.SIGTERM)

    assert exporter.wait() == 0


@pytest.mark.parametrize("how", ["stopped", "blocked"])
def test_sigterm_ends_even_if_the_worker_hangs(serve, how):
    exporter = serve("--shutdown-delay", "0")
    worker = exporter.await_worker()
    if how == "stopped":
        os.kill(worker, signal.SIGSTOP)
    else:
        exporter.order("block 3600")

    exporter.signal(signal.SIGTERM)

    assert exporter.wait() == 0
    assert not psutil.pid_exists(worker)


def test_a_signal_that_also_reaches_the_worker_counts_once(serve):
    """As when an init system signals every process of a service."""
    exporter = serve("--shutdown-delay", "3600")
    worker = exporter.await_worker()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(worker, number)
    exporter.signal(signal.SIGTERM)
    os.kill(worker, signal.SIGTERM)
    exporter.line("shutting down")
    eventually(lambda: exporter.status("/readyz") == 503)
    assert exporter.status("/livez") == 200
    assert not [line for line in exporter.lines if "configuration loaded" in line]

    exporter.signal(signal.SIGTERM)
    assert exporter.wait() == 0


@pytest.mark.parametrize("how", ["serving", "stopped", "blocked"])
def test_the_worker_ends_with_its_keeper(serve, how):
    exporter = serve()
    worker = psutil.Process(exporter.await_worker())
    if how == "stopped":
        worker.suspend()
        os.kill(exporter.pid, signal.SIGKILL)
    else:
        if how == "blocked":
            exporter.order("block 3600")
        exporter.signal(signal.SIGKILL)

    eventually(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


def test_nothing_is_left_open_at_the_end(serve, monkeypatch):
    """Python reports that in development mode."""
    monkeypatch.setenv("PYTHONDEVMODE", "1")
    exporter = serve("--shutdown-delay", "0")
    worker = exporter.await_worker()
    time.sleep(2)
    os.kill(worker, signal.SIGABRT)
    exporter.await_worker(after=worker)
    exporter.signal(signal.SIGTERM)

    assert exporter.wait() == 0
    assert not [line for line in exporter.lines if "ResourceWarning" in line]


def test_the_worker_s_exit_code_before_it_serves_is_the_keeper_s(tmp_path):
    (tmp_path / "health.yml").write_text("checks: [{name: x}]")
    arguments = [
        "--config.strict",
        "--config.file",
        str(tmp_path / "health.yml"),
        "--web.listen-address",
        "127.0.0.1:0",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "exporter", "serve", *arguments], capture_output=True, text=True, timeout=PATIENCE
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(str(tmp_path / "health.yml"))


# What is inherited

PARENT = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP])
for descriptor in map(int, sys.argv[1].split()):
    os.close(descriptor)
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize("closed", ["", "0", "0 1", "0 1 2"])
def test_what_the_parent_process_has_set_and_closed_does_not_matter(tmp_path, closed):
    (tmp_path / "health.yml").write_text(CHECKS)
    address = f"127.0.0.1:{free_port()}"
    serve = [sys.executable, "-m", "exporter", "serve", "--config.file", str(tmp_path / "health.yml")]
    listen = ["--web.listen-address", address, "--shutdown-delay", "0"]
    with subprocess.Popen([sys.executable, "-c", PARENT, closed, *serve, *listen], stdout=subprocess.PIPE) as child:
        try:
            eventually(lambda: succeeds(f"http://{address}/readyz"))
            (worker,) = psutil.Process(child.pid).children()
            for pid in (child.pid, worker.pid):
                assert all(
                    str(Path(f"/proc/{pid}/fd/{number}").readlink()) == os.devnull
                    for number in map(int, closed.split())
                )
            time.sleep(2)
            worker.kill()
            eventually(lambda: succeeds(f"http://{address}/readyz"))
            child.send_signal(signal.SIGTERM)
            assert child.wait(PATIENCE) == 0
        finally:
            child.kill()


def succeeds(url: str) -> bool:
    with suppress(OSError, http.client.HTTPException):
        return get(url).status == 200
    return False


def test_the_commands_of_exec_checks_inherit_no_descriptor(start, tmp_path):
    list_them = f"ls -l /proc/self/fd > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/descriptors"
    start(f"checks: [{{name: lists, exec: {{command: [sh, -c, '{list_them}']}}}}]")
    eventually((tmp_path / "descriptors").exists)
    numbers = re.findall(r" (\d+) -> ", (tmp_path / "descriptors").read_text())

    assert numbers == ["0", "1", "2", "3"]  # the last is the folder itself


# Clients of the keeper


def test_clients_that_send_nothing_do_not_keep_the_keeper_from_answering(serve, tmp_path):
    (tmp_path / "wait").touch()
    exporter = serve()
    eventually(lambda: exporter.status("/livez"))
    host, _, port = exporter.address.partition(":")
    clients = [socket.create_connection((host, int(port))) for _ in range(300)]
    try:
        for number, client in enumerate(clients):
            with suppress(OSError):
                client.sendall((b"", b"GET /livez HTT", b"GET /livez HTTP/1.1\r\nX: " + b"x" * 9000)[number % 3])
        assert [exporter.status("/livez") for _ in range(20)] == [200] * 20
        assert psutil.Process(exporter.pid).num_fds() < 100
    finally:
        for client in clients:
            client.close()


def test_with_a_web_configuration_only_the_probe_listener_is_answered(serve, tmp_path):
    """A connection to the web listener may need TLS or a password, so it waits for the worker."""
    (tmp_path / "wait").touch()
    (tmp_path / "web.yml").write_text("{}")
    probe = f"127.0.0.1:{free_port()}"
    exporter = serve("--web.config.file", str(tmp_path / "web.yml"), "--probe.listen-address", probe)
    eventually(lambda: succeeds(f"http://{probe}/livez"))
    host, _, port = exporter.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        client.settimeout(1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        (tmp_path / "wait").unlink()
        client.settimeout(PATIENCE)
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


# Memory


@contextmanager
def memory_cgroup(limit: int) -> Iterator[Path]:
    """A memory cgroup with this limit in bytes; a skip that says why there is none."""
    line = next((line for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line), None)
    unified = line is None
    base = Path("/sys/fs/cgroup") if unified else Path("/sys/fs/cgroup/memory")
    folder = base / f"health-exporter-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(limit))
        swap = folder / ("memory.swap.max" if unified else "memory.memsw.limit_in_bytes")
        if swap.exists():
            swap.write_text("0" if unified else str(limit))
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        unavailable(f"no memory cgroup can be made here: {error}")
    try:
        yield folder
    finally:
        eventually(lambda: not (folder / "cgroup.procs").read_text())
        folder.rmdir()


def test_a_worker_that_is_killed_for_its_memory_is_replaced(serve):
    with memory_cgroup(96 * 2**20) as folder:
        exporter = serve()
        try:
            worker = exporter.await_worker()
            for pid in (exporter.pid, worker):
                (folder / "cgroup.procs").write_text(str(pid))
            time.sleep(2)
            with asking(exporter, "/livez") as live:
                exporter.order("eat")
                exporter.line("signal=SIGKILL")
                exporter.await_worker(after=worker)
            assert set(live.statuses) == {200}
            assert exporter.metrics()[RESTARTS] == 1
        finally:
            exporter.end()
