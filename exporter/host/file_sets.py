"""Reads a file, or all files of a folder with certain endings, as one state.

Theory of operation. A folder may change while it is read, and some of its files may belong together. So it is read
again if a file has changed meanwhile. Kubernetes replaces the files of a ConfigMap's volume at once, by moving the link
`..data` to another folder. The files next to it are links through this one. The kubelet adds and removes them before or
after the move, so for a moment some lead nowhere or are missing. That is why the files are read in the folder to which
`..data` leads.
"""

import errno
import os
import stat
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from exporter.host.reader import Signature, call, read_now, sign_now
from exporter.model import Deadline

MAX_ENTRIES = 1000
"""Entries of a folder, whatever their names are."""
MAX_ATTEMPTS = 3
"""Times that a folder is read, while it changes."""
_CURRENT = "..data"

Contents = dict[str, bytes | OSError]
"""What could be read, or not, by path."""


def read_set(path: str | Path, suffixes: Sequence[str], max_bytes: int, deadline: Deadline) -> Contents:
    """Return the content of a regular file, or of the files of a folder whose names have these suffixes, by name.

    Hidden files do not count. Reading ends after `max_bytes` of all files together: if the contents are longer, the
    last one is not complete, and further ones are missing. Raises OSError, whose `strerror` says why.
    """
    text = os.fspath(path)
    return call(text, partial(_read_set, text, tuple(suffixes), max_bytes), f"read set {max_bytes}", deadline)


def sign_set(path: str | Path, suffixes: Sequence[str], deadline: Deadline) -> object:
    """Return a value that changes with what `read_set` returns. It is the number of the error if there is one."""
    text = os.fspath(path)
    try:
        return call(text, partial(_sign_set, text, tuple(suffixes)), "sign set", deadline)
    except OSError as error:
        return error.errno


def _read_set(path: str, suffixes: tuple[str, ...], max_bytes: int) -> Contents:
    if not _is_folder(path):
        return {path: read_now(path, max_bytes + 1)}
    for _ in range(MAX_ATTEMPTS):
        signature = _sign_set(path, suffixes)
        contents = _read_folder(path, suffixes, max_bytes)
        if _sign_set(path, suffixes) == signature:
            return contents
    raise OSError(errno.EAGAIN, "its files change while they are read", path)


def _read_folder(path: str, suffixes: tuple[str, ...], max_bytes: int) -> Contents:
    contents: Contents = {}
    left = max_bytes
    for name, file in _list_files(path, suffixes):
        if left < 0:
            break
        try:
            contents[name] = content = read_now(file, left + 1)
        except OSError as error:
            contents[name] = error
        else:
            left -= len(content)
    return contents


def _sign_set(path: str, suffixes: tuple[str, ...]) -> object:
    if not _is_folder(path):
        return sign_now(path)
    return tuple((name, _try_sign(file)) for name, file in _list_files(path, suffixes))


def _try_sign(path: str) -> Signature | int | None:
    try:
        return sign_now(path)
    except OSError as error:
        return error.errno


def _is_folder(path: str) -> bool:
    return stat.S_ISDIR(Path(path).stat().st_mode)


def _list_files(path: str, suffixes: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the files of a folder, in the order of their names: the path to show, and the path to read."""
    current = os.path.join(path, _CURRENT)  # noqa: PTH118  # a Path would not take the names of os.scandir as they are
    folder = current if os.path.isdir(current) else path  # noqa: PTH112
    names = []
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries, 1):
            if count > MAX_ENTRIES:
                raise OSError(errno.EFBIG, f"has more than {MAX_ENTRIES} entries", path)
            if entry.name.endswith(suffixes) and not entry.name.startswith("."):
                names.append(entry.name)
    return [(os.path.join(path, name), os.path.join(folder, name)) for name in sorted(names)]  # noqa: PTH118
