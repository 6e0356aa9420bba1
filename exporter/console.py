"""What the commands print. Imports next to nothing, because `health-exporter ask` needs it in every exec probe."""

import sys
from typing import TextIO


def echo(text: str, stream: TextIO | None) -> None:
    """Print a line, and carry on if it cannot be written: the exit code is the result.

    The stream is None if the parent process has closed it.
    """
    if stream is None:
        return
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        if stream is not sys.stderr:
            echo(f"the report could not be written: {error.strerror}", sys.stderr)
