"""The process: exit codes that mean what the documentation says, whatever happens.

Left alone, Python exits with 1 on any crash, which here would say "not healthy".
"""

import contextlib
import os
import signal
import sys
import traceback

USAGE = 2
COULD_NOT_ASK = 3
INTERRUPTED = 130


def main() -> None:
    """Run the command line. Everything but a verdict ends with 2, or with 3 for `ask`."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    trouble = COULD_NOT_ASK if command == "ask" else USAGE
    if command == "serve":
        # As PID 1 of a container a process without a handler does not see the signal at all, and imports take time.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        code = _run(trouble)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BaseException:  # noqa: BLE001  # whatever it is, it is no verdict
        traceback.print_exc()
        code = trouble
    # The verdict stands even if nobody reads what is said about it; Python would make a failing flush exit code 120.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def _run(trouble: int) -> int:
    import click

    from exporter.cli import cli

    try:
        code = cli.main(prog_name="health-exporter", standalone_mode=False)
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return trouble
    except SystemExit as error:  # click's answer to a closed pipe is 1
        return trouble if error.code else 0
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
