"""What the commands share: types of options, errors, and the reading of files."""

import functools
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from exporter.arguments import name_variable, parse_seconds

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from exporter.config.checks import Config

STDIN = Path("-")
"""What a command line names instead of a file."""

_F = TypeVar("_F", bound=Callable[..., Any])


class File(click.Path):
    """The path of a file. click.Path itself calls the system on it, which blocks forever if the mount is dead."""

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Return the paths in an environment variable, which are separated by spaces, as other values are."""
        return rv.split()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path. An empty one, as a variable that is not set leaves it, would be the current folder."""
        if not str(value):
            self.fail("The path is empty.", param, ctx)
        return Path(value)


def complete_files(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """Complete the path of a file, for an option whose value is a text."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def complete_checks(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a check in the configuration that the command line names so far."""
    from exporter.probe.reference import AssumedEnvironment

    # click leaves a FILE in `args` if an option without its value follows, as here.
    file = next((Path(word) for word in context.args if not word.startswith("-")), None)
    file = context.params.get("file") or file
    files = [file] if file else context.params.get("config_files") or ()
    names = (check.spec.name for check in load_config(files, AssumedEnvironment(os.environ)).checks)
    return [name for name in names if name.startswith(incomplete)]


class Seconds(click.FloatRange):
    """A finite number of seconds, or a duration such as `60s` or `5m`. click's ranges accept `nan` and may `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = parse_seconds(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds, such as 30, 30s or 5m.", param, ctx)
        number: float = super().convert(seconds, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number of seconds.", param, ctx)
        return number


class Size(click.ParamType[int]):
    """A number of bytes in the units of Prometheus: powers of 1024."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"([1-9][0-9]{0,5})(MB|GB)", str(value))
        if match is None:
            self.fail(f"{value} is not a size, such as 32MB or 1GB.", param, ctx)
        return int(match[1]) * {"MB": 2**20, "GB": 2**30}[match[2]]


def option(name: str, *names: str, command: str = "", **attributes: Any) -> Callable[[_F], _F]:
    """Return an option of a command, with its environment variable."""
    return click.option(name, *names, envvar=name_variable(name, command), show_envvar=True, **attributes)


def take_config_file(function: Callable[..., int]) -> Callable[..., int]:
    """Add FILE and --config.file to a command. It gets `config_files`, those that were given, which may be folders."""

    @click.argument("file", type=File(), metavar="[FILE]", required=False)
    @option(
        "--config.file",
        "config_files",
        type=File(),
        multiple=True,
        metavar="FILE",
        help="Configuration file, or folder with *.yml and *.yaml files, in place of FILE. Can be repeated.",
    )
    @functools.wraps(function)
    def wrapper(*arguments: Any, file: Path | None, config_files: tuple[Path, ...], **options: Any) -> int:
        source = click.get_current_context().get_parameter_source("config_files")
        if file is not None and source is ParameterSource.COMMANDLINE and config_files != (file,):
            others = " ".join(map(str, config_files))
            message = f"FILE and --config.file name two files, {file} and {others}: repeat --config.file for several"
            raise click.UsageError(message)
        chosen = config_files if file is None else (file,)
        if len(chosen) > 1 and STDIN in chosen:
            raise click.UsageError("standard input cannot be one of several configuration files")
        return function(*arguments, config_files=chosen, **options)

    return wrapper


class Refused(click.ClickException):
    """An error whose message is printed as it is, without a prefix."""

    def show(self, file: Any = None) -> None:
        click.echo(self.message, file=file or sys.stderr)


def read_input(path: Path) -> tuple[str, bytes]:
    """Return the name and the content of a file; of standard input for `-`. If it is too large, one byte too many."""
    from exporter.manifests.workloads import MAX_BYTES

    if str(path) != "-":
        try:
            with path.open("rb") as file:
                return str(path), file.read(MAX_BYTES + 1)
        except OSError as error:
            raise Refused(f"{path}: cannot be read: {error.strerror}") from None
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("standard input is a terminal: give a FILE, or pipe one into the command")
    return "stdin", sys.stdin.buffer.read(MAX_BYTES + 1)


def load_config(paths: Sequence[Path], environment: "Mapping[str, str] | None" = None) -> "Config":
    """Return the configuration in files and folders, in standard input for `-`, or the default one without any."""
    from exporter.config.complaint import ConfigError

    try:
        return read_config(paths, environment)
    except ConfigError as error:
        raise Refused(str(error)) from None


def read_config(paths: Sequence[Path], environment: "Mapping[str, str] | None" = None) -> "Config":
    """Return the configuration as load_config does. Raises ConfigError."""
    from exporter.config.checks import load, parse
    from exporter.config.files import Text

    if tuple(paths) != (STDIN,):
        return load(*paths, environment=environment)
    return parse([Text(*read_input(STDIN))], environment)
