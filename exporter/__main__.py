"""The process: exit codes that mean what the documentation says, whatever happens.

Left alone, Python exits with 1 on any crash, which here would say "not healthy".
"""

import contextlib
import os
import sys

USAGE = 2
COULD_NOT_ASK = 3
INTERRUPTED = 130


def main() -> None:
    """Run the command line. Everything but a verdict ends with 2, or with 3 for `ask`."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    trouble = COULD_NOT_ASK if command == "ask" else USAGE
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # None, where whoever started the process has closed it
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if command == "serve":
        import signal

        # As PID 1 of a container a process without a handler does not see the signal at all, and imports take time.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        code = _asked() if command == "ask" else None
        code = _run(trouble) if code is None else code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BaseException:  # noqa: BLE001  # whatever it is, it is no verdict
        code = trouble
        _tell()
    _end(code)


def _asked() -> int | None:
    """The exit code of a plain `ask`, which runs every few seconds and so does without click; None for any other."""
    from exporter import ask

    words = ask.plainly(sys.argv[2:]) if sys.argv[1] == "ask" else None
    return None if words is None else ask.run(*words)


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
    except SystemExit as error:
        if isinstance(error.__context__, OSError):  # click's answer to a closed pipe
            return trouble
        raise
    return code if isinstance(code, int) else trouble


def _tell() -> None:
    import traceback

    with contextlib.suppress(OSError, ValueError, AttributeError):
        traceback.print_exc()


def _end(code: int) -> None:
    """Exit at once: the verdict stands even if nobody reads what is said about it, and whatever thread still hangs.

    Python would make a failing flush exit code 120, and would wait for threads.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
