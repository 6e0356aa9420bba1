"""The mounts that a process sees (man 5 proc_pid_mountinfo)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter.host.proc import read_file
from exporter.redaction import mask_urls

THREAD = Path("/proc/thread-self")
"""The folder of this thread: another one may be in another mount namespace."""
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A filesystem and where it is mounted."""

    point: str
    type: str
    source: str  # a device, a server's path or a word, without credentials
    options: tuple[str, ...]  # of the filesystem; they may contain secrets

    def __str__(self) -> str:
        return f"{self.type}{'' if self.source in (self.type, 'none') else f' {self.source}'} on {self.point}"


def find_mount(number: int, process: Path = THREAD) -> Mount | None:
    """Return the mount with this ID; None if it is not listed. `process` is the folder of a process in /proc."""
    return next((mount for _, mount in list_mounts(process, f"{number} ")), None)


def read_mount_id(descriptor: int) -> int:
    """Return the ID of the mount of an open file; 0 if it is not known. The mount itself is not asked."""
    lines = (read_file(THREAD / "fdinfo" / str(descriptor)) or "").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("mnt_id:")), 0)


def explain_absence(path: Path, proc: Path, otherwise: str) -> str:
    """Return why a file below `proc` does not exist or cannot be read, and what to do."""
    mounts = [mount for _, mount in list_mounts(proc / "thread-self") if mount.point == str(proc)]
    if mounts and "subset=pid" in mounts[-1].options:  # Linux 5.8; the last one is on top
        return (
            f"{path} is hidden by the mount option subset=pid of {proc} (ProcSubset=pid in a systemd unit): remove it"
        )
    return f"{path} cannot be read: {otherwise}"


def list_mounts(process: Path, start: str = "") -> Iterator[tuple[int, Mount]]:
    """Yield the mounts that a process sees, each with its ID. Those on top of others at the same point come later.

    Lines that do not start with `start` are skipped.
    """
    for line in (read_file(process / "mountinfo") or "").split("\n"):  # the kernel escapes no other end of a line
        if not line.startswith(start):
            continue
        before, _, after = line.partition(" - ")
        fields, details = before.split(" "), after.split(" ")
        if len(fields) >= 6 and len(details) >= 2:
            source = mask_urls(_unescape(details[1]))
            yield int(fields[0]), Mount(_unescape(fields[4]), details[0], source, tuple(details[-1].split(",")))


def _unescape(text: str) -> str:
    """Return the text with the characters that the kernel escapes in octal, such as spaces."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
