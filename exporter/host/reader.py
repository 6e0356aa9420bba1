"""Reads the files that the exporter itself needs: configurations, secrets, certificates, keys and pid files.

A file may be on a mount that no longer responds, or a FIFO may have taken its place. So every read has a deadline and a
maximum of bytes, and the threads of `path_threads` make the system calls. Only regular files are opened, because
opening a device can have effects.
"""

import errno
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from exporter.forks import reset_after_fork
from exporter.host.path_threads import PathThreads
from exporter.model import Deadline, ProbeError, Reason

MAX_WAIT = 5.0
"""Seconds for a read that belongs to no check, such as that of the configuration."""
MAX_PEM = 4 * 2**20
"""Bytes of a file of certificates or keys. The CA certificates of a Linux distribution take about 220 KiB."""
MAX_KEPT = 64  # files whose content is kept until they change

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_T = TypeVar("_T")

Signature = tuple[int, ...]
"""A value that changes when a file is written or replaced, and with the target of a symbolic link."""

_THREADS = PathThreads()
reset_after_fork(_THREADS.reset)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_THREADS.retire)

_kept: OrderedDict[str, tuple[Signature, bytes]] = OrderedDict()


def read(path: str | Path, max_bytes: int, deadline: Deadline | None = None) -> bytes:
    """Return the first bytes of a regular file, at most so many. Raises OSError, whose `strerror` says why."""
    text = os.fspath(path)
    return call(text, partial(read_now, text, max_bytes), f"read {max_bytes}", deadline)


def read_now(path: str, max_bytes: int) -> bytes:
    """Do what `read` does, without a deadline, in a function for `call`."""
    with _opened(path) as descriptor:
        return _read_all(descriptor, max_bytes)


def read_end(path: str | Path, max_bytes: int, deadline: Deadline | None = None) -> bytes:
    """Return the last bytes of a regular file, at most so many. Raises OSError, whose `strerror` says why."""
    text = os.fspath(path)
    return call(text, partial(_read_end, text, max_bytes), f"read the end {max_bytes}", deadline)


def read_pem(path: str | Path, deadline: Deadline | None = None) -> bytes:
    """Return the content of a file of certificates or keys. It is the same object until the file changes.

    Raises OSError, also for a file that is too large.
    """
    text = os.fspath(path)
    return call(text, partial(read_pem_now, text), "read PEM", deadline)


def read_pem_now(path: str) -> bytes:
    """Do what `read_pem` does, without a deadline, in a function for `call`."""
    with _opened(path) as descriptor:
        signature = _sign(os.fstat(descriptor))
        known = _kept.get(path)
        if known is not None and known[0] == signature:
            return known[1]
        content = _read_all(descriptor, MAX_PEM + 1)
    if len(content) > MAX_PEM:
        raise OSError(errno.EFBIG, f"larger than {MAX_PEM // 2**20} MiB", path)
    _kept[path] = signature, content
    while len(_kept) > MAX_KEPT:
        _kept.popitem(last=False)
    return content


def sign(path: str | Path, deadline: Deadline | None = None) -> Signature:
    """Return the signature of a path. Raises OSError."""
    text = os.fspath(path)
    return call(text, partial(sign_now, text), "sign", deadline)


def sign_now(path: str) -> Signature:
    """Do what `sign` does, without a deadline, in a function for `call`."""
    return _sign(Path(path).stat())


def read_signature(path: Path) -> object:
    """Return the signature of a path, or the number of the error: both change with what can be read there.

    They also change with the target of a symbolic link, as in the volume of a ConfigMap or a Secret.
    """
    try:
        return sign(path)
    except OSError as error:
        return error.errno


def call(path: str, function: Callable[[], _T], name: str, deadline: Deadline | None = None) -> _T:
    """Return what a function returns that makes system calls on a path. `name` tells it from other functions.

    Raises what it raises; an OSError if it does not return by the deadline.
    """
    return _THREADS.run(path, function, name, deadline or _default_deadline())


def require_response(path: str, deadline: Deadline, name: str) -> None:
    """Raise ProbeError if the mount of a path does not respond, before a call on it that has no deadline.

    The message has this name of the path. Any other error is left to that call.
    """
    try:
        sign(path, deadline)
    except TimeoutError as error:
        raise ProbeError(Reason.TIMEOUT, f"{name}: {error.strerror}") from None
    except OSError:
        return


@contextmanager
def explained(what: str = "the file") -> Iterator[None]:
    """Turn an OSError about a file of a check into a ProbeError that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise ProbeError(Reason.MISSING, f"{what} {error.filename} does not exist") from None
    except PermissionError as error:
        raise ProbeError(Reason.PERMISSION, f"{what} {error.filename}: permission denied") from None
    except TimeoutError as error:
        raise ProbeError(Reason.TIMEOUT, f"{what} {error.filename}: {error.strerror}") from None
    except OSError as error:
        raise ProbeError(Reason.ERROR, f"{what} {error.filename} cannot be read: {error.strerror}") from None


def name_kind(mode: int) -> str:
    """Return what is at a path, in words: `a directory`, `a FIFO`, and so on."""
    return _KINDS.get(stat.S_IFMT(mode), "special")


def _default_deadline() -> Deadline:
    return Deadline(time.monotonic() + MAX_WAIT)


def _read_end(path: str, max_bytes: int) -> bytes:
    with _opened(path) as descriptor:
        os.lseek(descriptor, max(0, os.fstat(descriptor).st_size - max_bytes), os.SEEK_SET)
        return _read_all(descriptor, max_bytes)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    _require_regular(Path(path).stat())
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _require_regular(os.fstat(descriptor))  # another file may have taken its place
        yield descriptor
    finally:
        os.close(descriptor)


def _require_regular(status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {name_kind(status.st_mode)}, not a regular file")


def _read_all(descriptor: int, max_bytes: int) -> bytes:
    content = b""
    while len(content) < max_bytes and (part := os.read(descriptor, min(2**20, max_bytes - len(content)))):
        content += part
    return content


def _sign(status: os.stat_result) -> Signature:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
