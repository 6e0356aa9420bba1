"""The real image, built on a stand-in for the official Python image, and run as Kubernetes runs it."""

import hashlib
import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from image.stand_in import BASE, ROOT, Container, Engine, engine
from support import eventually, free_port, get

from exporter import __version__

pytestmark = pytest.mark.timeout(600)  # without a cache, the base image is created first

IMAGE = "localhost/health-exporter:core"
WITH_REDIS = "localhost/health-exporter:redis"
MIB = 2**20
CONFIG = """
checks:
  - {name: itself, httpGet: {path: /-/healthy, port: PORT}, groups: [liveness, readiness]}
  - {name: leaving, exec: {command: [sh, -c, 'sleep 0.1 & exit 0']}, periodSeconds: 1, groups: []}
  - {name: machine, loadAverage: {failRatio: 1000}, groups: []}
"""
REDIS = "checks: [{name: cache, redis: {}}]\n"
GRPC = "checks: [{name: api, grpc: {port: 1}}]\n"


@pytest.fixture(scope="module")
def engine_() -> Iterator[Engine]:
    with engine() as made:
        yield made


@pytest.fixture(scope="module")
def images(engine_: Engine) -> tuple[str, str]:
    """The image without extras and the one with an extra, built in parallel."""
    with ThreadPoolExecutor() as pool:
        core = pool.submit(engine_.build, IMAGE, "--build-arg=REVISION=0123abc")
        redis = pool.submit(engine_.build, WITH_REDIS, "--build-arg=EXTRAS=redis")
    return core.result(), redis.result()


@pytest.fixture(scope="module")
def image(images: tuple[str, str]) -> str:
    return images[0]


@pytest.fixture(scope="module")
def with_redis(images: tuple[str, str]) -> str:
    return images[1]


class Served:
    """A container that serves on a free port of this machine's loopback."""

    def __init__(self, engine: Engine, image: str, folder: Path, *flags: str) -> None:
        port = free_port()
        (folder / "health.yml").write_text(CONFIG.replace("PORT", str(port)))
        folder.chmod(0o755)
        options = ["--network=host", f"--volume={folder}:/etc/health-exporter:ro"]
        arguments = ["--config.file=/etc/health-exporter/health.yml", f"--web.listen-address=127.0.0.1:{port}"]
        self.url = f"http://127.0.0.1:{port}"
        self.container = engine.start(image, "serve", *arguments, *flags, options=options)

    def status(self, path: str) -> int:
        try:
            return get(f"{self.url}{path}").status
        except ConnectionError:
            return 0


@pytest.fixture(scope="module")
def served(engine_: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    started = Served(engine_, image, tmp_path_factory.mktemp("served"))
    eventually(lambda: started.status("/readyz") == 200, within=30, what=started.container.logs())
    yield started
    engine_.remove(started.container)


@pytest.fixture
def start(engine_: Engine, image: str) -> Iterator[Callable[..., Container]]:
    started: list[Container] = []

    def start_(*arguments: str, options: tuple[str, ...] = ()) -> Container:
        started.append(engine_.start(image, *arguments, options=options))
        return started[-1]

    yield start_
    for container in started:
        engine_.remove(container)


# Content


def test_its_configuration_and_labels(engine_, image):
    config = engine_.inspect(image)["config"]

    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["health-exporter"]
    assert config["Cmd"] == ["serve"]
    assert config["StopSignal"] == "SIGTERM"
    assert list(config["ExposedPorts"]) == ["4584/tcp"]
    assert config["Healthcheck"]["Test"] == ["CMD", "health-exporter", "ask", "exporter"]
    assert {entry.partition("=")[0] for entry in config["Env"]} == {"PATH", "PYTHONDONTWRITEBYTECODE"}
    labels = {name.rpartition(".")[2]: value for name, value in config["Labels"].items() if "opencontainers" in name}
    assert labels.pop("description")
    assert labels == {
        "title": "health-exporter",
        "version": __version__,
        "revision": "0123abc",
        "licenses": "Apache-2.0",
    }


def _added(engine: Engine, image: str) -> dict[str, os.stat_result]:
    """The files that the image adds to its base or changes."""
    with engine.files(BASE) as base, engine.files(image) as root:
        before, after = _tree(base), _tree(root)
        return {
            name: status
            for name, status in after.items()
            if name not in before or _differs(base / name, root / name, before[name], status)
        }


def _tree(root: Path) -> dict[str, os.stat_result]:
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            found[path.relative_to(root).as_posix()] = path.lstat()
    return found


def _differs(old: Path, new: Path, before: os.stat_result, after: os.stat_result) -> bool:
    if (before.st_mode, before.st_uid, before.st_gid) != (after.st_mode, after.st_uid, after.st_gid):
        return True
    if not stat.S_ISREG(after.st_mode):
        return False
    return before.st_size != after.st_size or old.read_bytes() != new.read_bytes()


def test_it_adds_only_one_folder_and_bytecode(engine_, image):
    """No pip cache, sources, tests, secrets, settings of this machine, or files with special permissions."""
    added = _added(engine_, image)
    elsewhere = [
        name
        for name in added
        if not re.match(r"opt/health-exporter(/|$)|usr/lib/python3\.13/(.+/)?__pycache__(/[^/]+\.pyc)?$", name)
    ]

    assert elsewhere == []
    assert not [name for name, status in added.items() if status.st_mode & (stat.S_ISUID | stat.S_ISGID)]
    assert not [
        name for name, status in added.items() if status.st_mode & stat.S_IWOTH and not stat.S_ISLNK(status.st_mode)
    ]
    assert {(status.st_uid, status.st_gid) for status in added.values()} == {(0, 0)}
    packages = {Path(name).name for name in added if re.fullmatch(r"opt/.*/site-packages/[^/]+", name)}
    assert "exporter" in packages
    assert not packages & {"pip", "setuptools", "flit_core", "tests", "pytest", "redis", "grpc"}


def test_it_adds_less_than_60_mib(engine_, image):
    base, whole = engine_.size(BASE), engine_.size(image)
    print(f"image: {whole / MIB:.0f} MiB, of which {base / MIB:.0f} MiB are the base")

    assert whole - base < 60 * MIB


def test_two_builds_have_the_same_content(engine_, image, with_redis):
    def digests(root: Path) -> dict[str, str]:
        files = [path for path in root.glob("opt/health-exporter/**/*") if path.is_file() and not path.is_symlink()]
        return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    with engine_.files(image) as one, engine_.files(with_redis) as other:
        first, second = digests(one), digests(other)

    assert len(first) > 1000
    assert {name for name in first if second.get(name) != first[name]} == set()


def test_the_build_context_contains_only_the_files_of_the_image(engine_, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    engine_.build("localhost/context:all", f"--file={tmp_path / 'Dockerfile'}")
    with engine_.files("localhost/context:all") as root:
        sent = {name for name, status in _tree(root).items() if stat.S_ISREG(status.st_mode)}

    named = {"LICENSE", "README.md", "pyproject.toml", "requirements.txt", "requirements-extras.txt"}
    assert {name for name in sent if not name.startswith("exporter/")} == named
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "exporter").rglob("*") if path.is_file()}
    assert {name for name in sent if name.startswith("exporter/")} == {
        name for name in ours if "__pycache__" not in name
    }


# Running


def test_it_serves_probes_metrics_and_the_status_page(served):
    paths = ("/livez", "/readyz", "/startupz", "/healthz", "/metrics", "/", "/-/healthy", "/-/ready")

    eventually(lambda: served.status("/healthz") == 200)
    assert {path: served.status(path) for path in paths} == dict.fromkeys(paths, 200)
    assert 'health_check_up{check="itself",kind="httpGet"} 1.0' in get(f"{served.url}/metrics").text


def test_it_has_no_capabilities_and_cannot_write(served):
    process = psutil.Process(served.container.pid)
    status = Path(f"/proc/{process.pid}/status").read_text()
    result = served.container.run("touch", "/tmp/there", "/var/tmp/there", "/opt/health-exporter/there", "/there")

    assert set(process.uids()) == set(process.gids()) == {65532}
    assert re.search(r"^CapEff:\s*0+$", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\s*0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE)
    assert result.stderr.count("Read-only file system") == 4


def test_it_reaps_the_orphaned_processes_of_its_checks(served):
    itself = psutil.Process(served.container.pid)

    def runs() -> float:
        text = get(f"{served.url}/metrics").text
        return float(re.search(r'^health_check_runs_total{check="leaving",kind="exec"} (\S+)$', text, re.MULTILINE)[1])

    def zombies() -> int:
        count = 0
        for child in itself.children():
            with suppress(psutil.NoSuchProcess):  # reaped in the meantime
                count += child.status() == psutil.STATUS_ZOMBIE
        return count

    eventually(lambda: runs() >= 3, within=30)
    eventually(lambda: zombies() == 0, within=30)


def test_every_module_has_bytecode(served):
    """Otherwise it would be compiled again at every start, because the root is read-only."""
    script = (
        "import os, sys; import exporter.cli.main, exporter.server.run, exporter.ask; "
        "print([m.__cached__ for m in sys.modules.values()"
        " if getattr(m, '__cached__', None) and not os.path.exists(m.__cached__)])"
    )
    result = served.container.run("/opt/health-exporter/bin/python", "-c", script)

    assert (result.stdout.strip(), result.stderr) == ("[]", "")


def test_it_becomes_ready_with_little_cpu_time(engine_, image, tmp_path):
    served = Served(engine_, image, tmp_path)
    try:
        eventually(lambda: served.status("/readyz") == 200, within=60)
        keeper = psutil.Process(served.container.pid)
        times = [process.cpu_times() for process in (keeper, *keeper.children())]
    finally:
        engine_.remove(served.container)
    used = sum(time.user + time.system for time in times)
    print(f"ready after {used:.2f} s of CPU time")

    assert used < 5


def test_it_drains_on_sigterm_and_exits_with_0(engine_, image, tmp_path):
    served = Served(engine_, image, tmp_path, "--shutdown-delay=2")
    try:
        eventually(lambda: served.status("/readyz") == 200, within=30)
        engine_.podman("kill", "--signal=TERM", served.container.name)
        eventually(lambda: served.status("/readyz") == 503)
        alive = served.status("/livez")
        code = served.container.wait()
        logs = served.container.logs()
    finally:
        engine_.remove(served.container)

    assert (alive, code) == (200, 0)
    assert logs.rstrip().endswith("msg=stopped")


def test_its_healthcheck_checks_the_exporter_and_needs_no_shell(start):
    shells = [f"--volume=/dev/null:/usr/bin/{name}:ro" for name in ("dash", "bash")]
    container = start(options=("--network=none", *shells))

    eventually(container.healthy, within=30, what="the exporter is healthy")
    keeper = psutil.Process(container.pid)
    keeper.suspend()  # first: a keeper that runs would replace its worker, and reap the processes of health checks
    frozen = [keeper, *(child for child in keeper.children() if child.status() != psutil.STATUS_ZOMBIE)]
    for process in frozen[1:]:
        process.suspend()
    try:
        assert not container.healthy()
    finally:
        for process in frozen:
            with suppress(psutil.NoSuchProcess):  # a process of the health check may have ended
                process.resume()
    eventually(container.healthy)


# Extras


def test_the_build_argument_installs_only_the_named_extra(engine_, with_redis, tmp_path):
    result = _validate(engine_, with_redis, tmp_path, REDIS)
    other = _validate(engine_, with_redis, tmp_path, GRPC)

    assert (result.returncode, result.stdout) == (0, "/config/health.yml: valid, 1 check\n")
    assert other.returncode == 2
    assert (
        "requires the extra grpc (module grpc is missing): build the image with --build-arg EXTRAS=grpc\n"
        in other.stderr
    )


def test_an_unknown_extra_fails_the_build(engine_):
    with pytest.raises(AssertionError, match=r"EXTRAS: unknown extras: \['nope'\]"):
        engine_.build("localhost/never", "--build-arg=EXTRAS=redis, nope")


def test_the_error_about_a_missing_extra_says_how_to_build_the_image(engine_, image, tmp_path):
    result = _validate(engine_, image, tmp_path, REDIS)

    assert result.returncode == 2
    assert "requires the extra redis (module redis is missing): build the image with --build-arg EXTRAS=redis\n" in (
        result.stderr
    )


def _validate(engine: Engine, image: str, folder: Path, config: str) -> "subprocess.CompletedProcess[str]":
    (folder / "health.yml").write_text(config)
    folder.chmod(0o755)
    return engine.once(image, "validate", "/config/health.yml", options=[f"--volume={folder}:/config:ro"])
