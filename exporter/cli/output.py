"""Writing the output of a command to a file, as a whole."""

import contextlib
import os
from pathlib import Path

from exporter.cli.parts import Refused


def write_file(path: Path, text: str) -> None:
    """Replace a file at once: whoever reads it meanwhile, such as node_exporter, sees the old or the new content.

    It gets the permissions of a new file. What is not a regular file, such as /dev/stdout or a pipe, is written to.
    """
    target = path.resolve()
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
        else:
            _replace(target, text)
    except OSError as error:
        raise Refused(f"{path}: cannot be written: {error.strerror}") from None


def _replace(target: Path, text: str) -> None:
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
