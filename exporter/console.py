"""Printing for the commands.

It imports as little as possible, because `health-exporter ask` needs it in every exec probe.
"""

import sys

TYPE_CHECKING = False  # as in exporter/__init__.py
if TYPE_CHECKING:
    from typing import TextIO


def echo(text: str, stream: "TextIO | None") -> None:
    """Print a line, and carry on if it cannot be written: the exit code is the result.

    The stream is None if the parent process has closed it.
    """
    if stream is None:
        return
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        if stream is not sys.stderr and not isinstance(error, BrokenPipeError):  # such as `head`, which has enough
            echo(f"the report could not be written: {error.strerror}", sys.stderr)
