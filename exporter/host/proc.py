"""Reads the kernel's text files, and counts CPUs by those in /proc (man 5 proc)."""

import errno
import os
import re
from pathlib import Path

from exporter.model import ProbeError, Reason


def read_file(path: Path) -> str | None:
    """Return the text of a file under /proc or /sys; None if it does not exist.

    Raises ProbeError if permission is denied, and OSError for any other error.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise ProbeError(Reason.PERMISSION, f"{path}: permission denied") from None
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:  # a kernel with psi=0 has the pressure files, but they cannot be read
            return None
        raise


def count_machine_cpus(proc: Path = Path("/proc")) -> int:
    """Return the number of CPUs that are online, including those that this process may not use.

    os.cpu_count() uses the C library, and musl's counts only the CPUs that the process may use.
    """
    lines = (read_file(proc / "stat") or "").splitlines()
    return sum(re.match(r"cpu\d", line) is not None for line in lines) or os.cpu_count() or 1


def count_allowed_cpus(process: Path, proc: Path = Path("/proc")) -> int:
    """Return the number of CPUs that a process may run on: those of its cpuset, or all of the machine's."""
    lines = (read_file(process / "status") or "").splitlines()
    cpuset = next((line.partition(":")[2] for line in lines if line.startswith("Cpus_allowed_list:")), "")
    spans = [span.partition("-") for span in cpuset.strip().split(",") if span]
    return sum(int(last or first) - int(first) + 1 for first, _, last in spans) or count_machine_cpus(proc)
