"""The commands in the process of the test: a process of their own costs a hundred times the CPU time of most."""

import os
import sys
from collections.abc import Mapping
from io import BytesIO, TextIOWrapper
from pathlib import Path
from subprocess import CompletedProcess

import click
import pytest

from exporter import __main__ as program


def load_commands(group: click.Group) -> dict[str, click.Command]:
    """Return all commands of the program by name; the group imports each one only when it is needed."""
    context = click.Context(group)
    return {name: command for name in group.list_commands(context) if (command := group.get_command(context, name))}


class _ExitedError(BaseException):
    """The end of the process, with its exit code."""


def _exit(code: int) -> None:
    raise _ExitedError(code)


def run(
    *arguments: object, content: bytes = b"", cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> CompletedProcess[str]:
    """Run a command as `main` runs it, with this standard input. Of `serve`, it can only run the help."""
    assert arguments[:1] != ("serve",) or "--help" in arguments
    streams = {
        name: TextIOWrapper(BytesIO(typed), encoding="utf-8")
        for name, typed in (("stdin", content), ("stdout", b""), ("stderr", b""))
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd or Path.cwd())
        for name, value in (env or {}).items():
            patch.setitem(os.environ, name, value)
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        patch.setattr(sys, "argv", ["health-exporter", *map(str, arguments)])
        patch.setattr(program, "_run_keeper", lambda: None)  # it starts the program again
        patch.setattr(program, "_exit", _exit)
        with pytest.raises(_ExitedError) as ended:
            program.main()
    printed = (_read(streams[name]) for name in ("stdout", "stderr"))
    return CompletedProcess(sys.argv, ended.value.args[0], *printed)


def _read(stream: TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()
