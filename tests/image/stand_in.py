"""Real containers without a registry: debootstrap creates the base image, buildah builds, podman and runc run.

Images and containers are stored in the test's own folder, apart from any others on the machine. Only the base image is
kept between runs, in the user's cache folder, because creating it takes a minute.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import command, unavailable

ROOT = Path(__file__).parents[2]
BASE = "localhost/stand-in:trixie"
PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
NEEDLESS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt/archives", "var/lib/apt/lists")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_CONFIGURATION = """
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]  # podman's default may exceed the hard limit
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
"""


@dataclass(frozen=True)
class Container:
    """A started container, identified by its name."""

    name: str
    engine: "Engine"

    @property
    def pid(self) -> int:
        """The PID of the container's PID 1 on the host."""
        return int(self.engine.podman("inspect", "--format", "{{.State.Pid}}", self.name).stdout)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command inside the container as the image's user."""
        return self.engine.podman("exec", self.name, *words, check=False)

    def healthy(self) -> bool:
        """Whether the image's HEALTHCHECK passes."""
        return self.engine.podman("healthcheck", "run", self.name, check=False).returncode == 0

    def logs(self) -> str:
        return self.engine.podman("logs", self.name).stdout

    def wait(self) -> int:
        """Wait for the container to exit, and return its exit code."""
        return int(self.engine.podman("wait", self.name).stdout)


class Engine:
    """buildah and podman with a separate image store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = [f"--root={folder / 'images'}", f"--runroot={folder / 'run'}"]
        self._started = 0
        (folder / "containers.conf").write_text(_CONFIGURATION)
        (folder / "pip.conf").write_text(_pip_settings())
        self._env = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf"), "TMPDIR": str(folder)}
        overlay = self.podman("--storage-driver=overlay", "info", check=False)  # not supported on every file system
        self._store.append(f"--storage-driver={'vfs' if overlay.returncode else 'overlay'}")

    def buildah(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return self._run([command("buildah"), *self._store, *words], check=True)

    def podman(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        temporary = [f"--tmpdir={self._folder / 'podman'}"]
        return self._run([command("podman"), *self._store, *temporary, *words], check=check)

    def build(self, name: str, *options: str, context: Path = ROOT) -> str:
        """Build an image with this machine's pip settings and CA certificates, which must not stay in the image."""
        trust = [f"--volume={CERTIFICATES}:{CERTIFICATES}:ro"] if CERTIFICATES.exists() else []
        secret = f"--secret=id=pip.conf,src={self._folder / 'pip.conf'}"
        flags = ["--quiet", "--isolation=chroot", "--format=docker", "--pull-never", secret, *trust]
        self.buildah("build", *flags, f"--build-arg=BASE={BASE}", f"--tag={name}", *options, str(context))
        return name

    def inspect(self, image: str) -> dict[str, Any]:
        """The image's configuration in Docker's format."""
        inspected: dict[str, Any] = json.loads(self.buildah("inspect", "--type=image", image).stdout)["Docker"]
        return inspected

    def size(self, image: str) -> int:
        """The size in bytes, including the base."""
        return int(json.loads(self.podman("image", "inspect", image).stdout)[0]["Size"])

    @contextmanager
    def files(self, image: str) -> Iterator[Path]:
        """The image's root folder."""
        container = self.buildah("from", "--pull-never", image).stdout.strip()
        try:
            yield Path(self.buildah("mount", container).stdout.strip())
        finally:
            self.buildah("rm", container)

    def start(self, image: str, *arguments: str, options: Sequence[str] = ()) -> Container:
        """Start a container with the strictest restrictions of Kubernetes: no capabilities, and a read-only root."""
        self._started += 1
        name = f"it{self._started}"
        restricted = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"]
        named = [f"--name={name}", "--detach", "--pull=never", "--health-interval=disable"]
        self.podman("run", *named, *restricted, *options, image, *arguments)
        return Container(name, self)

    def once(self, image: str, *arguments: str, options: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
        """Run a container that exits by itself."""
        flags = ["--rm", "--pull=never", "--network=none", "--health-interval=disable", *options]
        return self.podman("run", *flags, image, *arguments, check=False)

    def remove(self, container: Container) -> None:
        self.podman("rm", "--force", "--time=0", container.name)

    def _run(self, words: list[str], *, check: bool) -> "subprocess.CompletedProcess[str]":
        result = subprocess.run(words, env=self._env, capture_output=True, text=True, timeout=240)
        if check and result.returncode:
            raise AssertionError(f"{' '.join(words)}\nexited with {result.returncode}:\n{result.stdout}{result.stderr}")
        return result


@contextmanager
def engine() -> Iterator[Engine]:
    """An engine with the base image, which is cleaned up afterwards; skips the test if something is missing."""
    if os.geteuid():
        unavailable("the image is built and run as root")
    for name in ("buildah", "podman", "runc", "conmon"):
        command(name)
    archive = _base()
    with tempfile.TemporaryDirectory(prefix="he-", ignore_cleanup_errors=True) as folder:
        made = Engine(Path(folder))
        made.podman("import", "--quiet", '--change=CMD ["python3"]', str(archive), BASE)
        tried = made.podman("run", "--rm", "--network=none", BASE, "true", check=False)
        if tried.returncode:  # a limitation of this machine, for example inside another container
            pytest.skip(f"no container can be run here: {tried.stderr.strip()}")
        try:
            yield made
        finally:
            made.podman("rm", "--all", "--force", "--time=0", check=False)
            made.podman("image", "rm", "--all", "--force", check=False)


def _base() -> Path:
    """The archive of the base image's files, created if it is missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "health-exporter"
    cache.mkdir(parents=True, exist_ok=True)
    archive = cache / "trixie-python-1.tar"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel test runs create it only once
        if not archive.exists():
            with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as folder:
                _make(Path(folder) / "root")
                made = Path(folder) / archive.name
                subprocess.run(["tar", "-C", f"{folder}/root", "--one-file-system", "-cf", made, "."], check=True)
                made.rename(archive)
    return archive


def _make(root: Path) -> None:
    """Create a Debian with Python, without the files that the official Python image does not contain either."""
    # In a mount namespace, so that all its mounts are removed when it exits, even if it fails.
    isolated = [command("unshare"), "--mount", "--propagation=private"]
    made = subprocess.run(
        [*isolated, command("debootstrap"), "--variant=minbase", f"--include={PACKAGES}", "trixie", str(root)],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        last = "; ".join((made.stdout + made.stderr).splitlines()[-2:])
        unavailable(f"debootstrap did not create the base image: {last}")
    for folder in NEEDLESS:
        shutil.rmtree(root / folder)
        (root / folder).mkdir()
    for bytecode in root.glob("usr/lib/python3*/**/*.pyc"):
        bytecode.unlink()
    for file in ("etc/resolv.conf", "etc/hostname"):
        (root / file).write_text("")


def _pip_settings() -> str:
    """This machine's pip settings for finding packages, for the pip in the build."""
    configured = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    relevant = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
    settings = {}
    for line in configured.stdout.splitlines():
        name, _, value = line.partition("=")
        if (key := name.rpartition(".")[2]) in relevant:
            settings[key.removeprefix("default-")] = value.strip("'\"")
    return "\n".join(["[global]", *(f"{key} = {value}" for key, value in settings.items()), ""])
