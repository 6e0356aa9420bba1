"""The files of a configuration: those that are named, and the YAML files of the folders that are named."""

import errno
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from exporter.config.complaint import Complaint, ConfigError
from exporter.config.document import MAX_BYTES
from exporter.host.file_sets import read_set, sign_set
from exporter.host.reader import MAX_WAIT
from exporter.model import NO_FILE, Deadline

MAX_FILES = 1000
_EMPTY_FOLDER = FileNotFoundError(errno.ENOENT, "the folder has no *.yml or *.yaml files")
SUFFIXES = (".yml", ".yaml")
"""How the names of the files in a folder end."""


class Text(NamedTuple):
    """A file: its name in complaints, and its content, or why it cannot be read."""

    source: str
    content: bytes | OSError


BUILT_IN = Text(
    NO_FILE,
    b"""\
# The checks without a --config.file: they watch the machine that health-exporter runs on.
checks:
  - name: load
    loadAverage: {}
  - name: memory
    memory: {}
  - name: disk
    disk: {path: /}
""",
)


def read_texts(paths: Sequence[Path]) -> list[Text]:
    """Return the texts of all files.

    Raises ConfigError if there are too many files or bytes, or if a file is named twice.
    """
    deadline = Deadline(time.monotonic() + MAX_WAIT)  # of all files together
    texts: list[Text] = []
    left = MAX_BYTES
    for path in paths:
        try:
            _require_time(deadline)
            contents = read_set(path, SUFFIXES, left, deadline) or {str(path): _EMPTY_FOLDER}
        except OSError as error:
            contents = {str(path): error}
        texts += [Text(source, content) for source, content in contents.items()]
        left -= sum(len(content) for content in contents.values() if isinstance(content, bytes))
        _require_bounds(texts, left)
    return texts


def sign_files(paths: Sequence[Path]) -> object:
    """Return a value that changes with the files that `read_texts` reads."""
    deadline = Deadline(time.monotonic() + MAX_WAIT)
    return [sign_set(path, SUFFIXES, deadline) if deadline.remaining() > 0 else None for path in paths]


def _require_time(deadline: Deadline) -> None:
    if deadline.remaining() <= 0:
        raise TimeoutError(errno.ETIMEDOUT, f"not tried, because {MAX_WAIT:g} s are over")


def _require_bounds(texts: Sequence[Text], left: int) -> None:
    """Raise ConfigError unless the texts are few, short and different enough. `left` is how many bytes may follow."""
    sources = [text.source for text in texts]
    source = sources[-1] if sources else ""
    if left < 0:
        together = ", together with the files before it" if len(texts) > 1 else ""
        message = f"is larger than {MAX_BYTES // 2**20} MiB{together}, which is too large for a configuration"
    elif len(sources) > MAX_FILES:
        message = f"is one of more than {MAX_FILES} files, which are too many for a configuration"
    elif len(set(sources)) < len(sources):
        source = next(name for name in sources if sources.count(name) > 1)
        message = "is named twice"
    else:
        return
    raise ConfigError([Complaint(source, None, (), message)])
