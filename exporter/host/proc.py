"""Reads the kernel's text files, and counts CPUs by those in /proc (man 5 proc)."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

from exporter.model import ProbeError, Reason

MAX_FILE = 4 * 2**20
"""Bytes. The list of mounts has about 200 for each, and /proc/stat about 80 for each CPU."""
_PART = 64 * 1024  # bytes; Python allocates as many for each read, and 4 MiB cost more than most files


def read_file(path: Path, max_bytes: int = MAX_FILE, opener: Callable[[str, int], int] | None = None) -> str | None:
    """Return the beginning of the text of a file under /proc or /sys; None if it does not exist.

    Raises ProbeError if permission is denied, and OSError for any other error. `opener` opens the file in place of
    `os.open`.
    """
    try:
        with open(path, "rb", buffering=0, opener=opener) as file:
            text = b""
            while part := file.read(min(_PART, max_bytes - len(text))):
                text += part
            return text.decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise ProbeError(Reason.PERMISSION, f"{path}: permission denied") from None
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:  # a kernel with psi=0 has the pressure files, but they cannot be read
            return None
        raise


def parse_number(text: str, path: str | Path) -> int:
    """Return the number that a file contains. Raises ProbeError without the text, which may be secret."""
    try:
        return int(text)
    except ValueError:
        raise ProbeError(Reason.ERROR, f"{path} does not contain a number") from None


def name_descriptor(descriptor: int) -> Path:
    """Return a path that leads to an open file, also if the descriptor is only a reference to it (O_PATH)."""
    return Path(f"/proc/thread-self/fd/{descriptor}")


def count_machine_cpus(proc: Path = Path("/proc")) -> int:
    """Return the number of CPUs that are online, including those that this process may not use.

    os.cpu_count() uses the C library, and musl's counts only the CPUs that the process may use.
    """
    lines = (read_file(proc / "stat") or "").splitlines()
    return sum(re.match(r"cpu\d", line) is not None for line in lines) or os.cpu_count() or 1


def count_allowed_cpus(process: Path, proc: Path = Path("/proc")) -> int:
    """Return the number of CPUs that a process may run on: those of its cpuset, or all of the machine's."""
    lines = (read_file(process / "status") or "").split("\n")  # a name may contain other characters that end lines
    cpuset = next((line.partition(":")[2] for line in lines if line.startswith("Cpus_allowed_list:")), "")
    spans = [span.partition("-") for span in cpuset.strip().split(",") if span]
    return sum(int(last or first) - int(first) + 1 for first, _, last in spans) or count_machine_cpus(proc)
