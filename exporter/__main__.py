"""The process: its exit codes mean what the documentation says, whatever happens.

By default Python exits with 1 on any crash. Here, 1 means "not healthy".
"""

import os
import sys

from exporter.arguments import COMPLETE, name_variable
from exporter.exitcodes import COULD_NOT_ASK, INTERRUPTED, USAGE

TYPE_CHECKING = False  # as in exporter/__init__.py
if TYPE_CHECKING:
    from typing import NoReturn

    from exporter.keeper.link import Link


def main() -> None:
    """Run the command line. Without a verdict the exit code is 2, or 3 for `ask` and for a plugin of Nagios."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    error_code = COULD_NOT_ASK if command == "ask" or _is_plugin() else USAGE
    if os.environ.get(COMPLETE):
        _exit(_complete(os.environ[COMPLETE]))
    if command == "check":
        from exporter import inherited

        inherited.reset()
    try:
        link = _run_keeper() if sys.argv[1:2] == ["serve"] else None
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # as it is if the parent process has closed it
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        code = _run_ask() if command == "ask" else None
        code = _run_click(error_code, link) if code is None else code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BaseException:  # noqa: BLE001  # an exception must not look like a verdict
        code = error_code
        _print_traceback()
    _exit(code)


def _is_plugin() -> bool:
    """Return whether this is a plugin of Nagios, for which 2 would mean that a check fails."""
    form = os.environ.get(name_variable("--format", "check"), "")
    return "check" in sys.argv and bool({"nagios", "--format=nagios"} & {form, *sys.argv})


def _run_keeper() -> "Link | None":
    """Become the keeper, which ends here. Returns in each worker that it forks, with the link to it.

    Returns None if the command line needs no keeper, because click will only print something.
    """
    from exporter.keeper import allocator

    allocator.configure()  # starts the program again, so nothing else is imported before
    from exporter.keeper.run import keep

    link = keep(sys.argv[2:])
    if isinstance(link, int):
        _exit(link)
    if link is not None:
        link.prepare()
    return link


def _run_ask() -> int | None:
    """Return the exit code of a plain `ask`; None for any other command line.

    It does not import click, because exec probes run it every few seconds.
    """
    from exporter import ask

    arguments = ask.parse_arguments(sys.argv[2:]) if sys.argv[1] == "ask" else None
    return None if arguments is None else ask.run(*arguments)


def _complete(instruction: str) -> int:
    """Print the words that may follow on a command line. An error prints nothing, because the prompt is there."""
    try:
        from click.shell_completion import shell_complete

        from exporter.cli import shells  # noqa: F401  # corrects click for bash
        from exporter.cli.main import PROGRAM, cli

        return USAGE if shell_complete(cli, {}, PROGRAM, COMPLETE, instruction) else 0
    except BaseException:  # noqa: BLE001  # such as a plugin that cannot be imported
        return USAGE


def _run_click(error_code: int, link: "Link | None") -> int:
    import click

    from exporter.cli.main import PROGRAM, cli

    try:
        code = cli.main(prog_name=PROGRAM, standalone_mode=False, obj=link)
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        if _is_plugin():
            _print_unknown(error.format_message())
        return error_code
    except SystemExit as error:
        if isinstance(error.__context__, OSError):  # click exits like this when a pipe is closed
            return error_code
        raise
    return code if isinstance(code, int) else error_code


def _print_unknown(message: str) -> None:
    """Print the line of a plugin of Nagios, which reads only standard output."""
    from exporter.console import echo
    from exporter.render.nagios import PluginState, format_line

    echo(format_line(PluginState.UNKNOWN, message), sys.stdout)


def _print_traceback() -> None:
    import contextlib
    import traceback

    with contextlib.suppress(OSError, ValueError, AttributeError):
        traceback.print_exc()


def _exit(code: int) -> "NoReturn":
    """Exit immediately, with this exit code even if the output cannot be written or a thread hangs.

    Python itself would turn a failed flush into exit code 120, and would wait for the threads.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue
    os._exit(code)


if __name__ == "__main__":
    main()
