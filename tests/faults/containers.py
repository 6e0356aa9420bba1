"""A container made by hand: a process with its own root folder, mounts and cgroup, as a runtime starts one.

It shares the PID namespace of the test, as the containers of a pod with `shareProcessNamespace` share one.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from support import command, eventually, unavailable

# Arguments: the folder for the new root, the program to copy there, its cgroups in the form SOURCE:TARGET, and after --
# the words to put before it. With a cgroup namespace, TYPE:TARGET:OPTIONS is mounted in place of SOURCE.
_SCRIPT = r"""
root=$1 program=$2
shift 2
mount --make-rprivate /
mount -t tmpfs -o size=8m,mode=755 tmpfs "$root/new"
cd "$root/new"
mkdir -p usr proc sys/fs/cgroup tmp data dead old
chmod 1777 tmp
mount --rbind /usr usr
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$folder"; done
cp "$(command -v sleep)" "$program"
mount -t proc proc proc
mount -t tmpfs -o size=1m tmpfs data
[ -z "$DEAD" ] || mount --bind "$DEAD" dead
mount -t tmpfs tmpfs sys/fs/cgroup
while [ "$1" != -- ]; do
    target=${1#*:} source=${1%%:*}
    mkdir -p "sys/fs/cgroup/${target%%:*}"
    case $source in
    /*) mount --bind "$source" "sys/fs/cgroup/$target" ;;
    *) mount -t "$source" -o "${target#*:}" "$source" "sys/fs/cgroup/${target%%:*}" ;;
    esac
    shift
done
shift
pivot_root . old
umount -l /old
exec "$@"
"""

# Arguments: a PID, a path in its container, and the path there to mount it on. A symbolic link is mounted itself.
_MOUNT = """
import ctypes, os, sys
pid, source, target = sys.argv[1:]
OPEN_TREE, MOVE_MOUNT = 428, 429
CLONE_NEWNS, AT_FDCWD, CLONE_AND_NO_FOLLOW, EMPTY_PATH = 0x20000, -100, 0x101, 4
libc = ctypes.CDLL(None, use_errno=True)

def call(function, *arguments):
    result = function(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)
    return result

root = os.open(f"/proc/{pid}/root", os.O_PATH)
call(libc.setns, os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY), CLONE_NEWNS)
os.fchdir(root)
os.chroot(".")
tree = call(libc.syscall, OPEN_TREE, AT_FDCWD, source.encode(), CLONE_AND_NO_FOLLOW)
call(libc.syscall, MOVE_MOUNT, tree, b"", AT_FDCWD, target.encode(), EMPTY_PATH)
"""


class Container:
    """A running container; `root` is its root folder, for the test to change."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.process = process
        self.pid = process.pid
        self.root = Path(f"/proc/{self.pid}/root")

    def mount(self, source: str, target: str) -> None:
        """Mount a file, a folder or a symbolic link of the container on another of its paths, as root there may do."""
        subprocess.run([sys.executable, "-c", _MOUNT, str(self.pid), source, target], check=True)

    def end(self) -> None:
        """End its only process, and with it its mounts."""
        self.process.kill()
        self.process.wait()


def choose_name() -> str:
    """A name for the process of a container. Tests that run at the same time see each other's processes."""
    return f"app-{uuid4().hex[:8]}"


@contextmanager
def container(
    folder: Path,
    *before: str,
    name: str = "",
    prefix: Sequence[str] = (),
    cgroups: Sequence[str] = (),
    dead: Path | None = None,
) -> Iterator[Container]:
    """A container whose process sleeps, under a name that no other process has, or under this one.

    `before` are words to put before the program inside the container, `prefix` outside. `cgroups` are mounted below
    /sys/fs/cgroup (see the script); `dead` is mounted at /dead.
    """
    if os.geteuid() != 0:
        unavailable("containers need root")
    name = name or choose_name()
    work = folder / f"container-{uuid4().hex[:8]}"
    (work / "new").mkdir(parents=True)
    unshare = [
        command("unshare"),
        "--mount",
        *(["--cgroup"] if any(not text.startswith("/") for text in cgroups) else []),
    ]
    script = ["sh", "-euc", _SCRIPT, "sh", str(work), name, *cgroups, "--", *before, f"/{name}", "3600"]
    environment = {**os.environ, "DEAD": str(dead or "")}
    process = subprocess.Popen([*prefix, *unshare, *script], env=environment, cwd="/")
    made = Container(name, process)
    try:
        eventually(lambda: process.poll() is not None or _read_name(process.pid) == name, what="the container starts")
        assert process.poll() is None, "the container did not start"
        yield made
    finally:
        made.end()
        shutil.rmtree(work)


def _read_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
