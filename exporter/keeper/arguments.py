"""What the keeper needs to know from the command line of `serve`."""

import os

from exporter.addresses import DEFAULT_ADDRESS
from exporter.arguments import name_variable, parse_seconds

TYPE_CHECKING = False  # as in exporter/__init__.py
if TYPE_CHECKING:
    from collections.abc import Mapping

FLAGS = ("--web.enable-lifecycle", "--web.enable-hold", "--config.strict")
LEVELS = ("debug", "info", "warn", "error")
FORMS = ("logfmt", "json")

_WEB, _PROBE, _WEB_CONFIG = "--web.listen-address", "--probe.listen-address", "--web.config.file"
_DELAY, _LEVEL, _FORM = "--shutdown-delay", "--log.level", "--log.format"
_CONFIG, _OTHERS = "--config.file", ("--shard", "--shards", "--history.file", "--history.size")
OPTIONS = (_CONFIG, _WEB, _PROBE, _WEB_CONFIG, _DELAY, _LEVEL, _FORM, *_OTHERS)
_REPEATED = (_CONFIG, _WEB, _PROBE)


class Arguments:
    """The options of `serve` that matter to the keeper, with the same defaults."""

    def __init__(self) -> None:
        self.web: list[str] = []
        self.probe: list[str] = []
        self.web_config = False  # TLS or passwords may be on
        self.delay = 5.0  # seconds
        self.level = "info"
        self.form = "logfmt"


def parse(words: list[str], environ: "Mapping[str, str]" = os.environ) -> Arguments | None:
    """Return the options of a valid, plain command line.

    An environment variable takes the place of an option that is not on the command line. For anything else, such as
    `--help` or an unknown option, return None: click has the texts for these.
    """
    arguments = Arguments()
    given = _split(words)
    if given is None:
        return None
    for name in {*OPTIONS} - {name for name, _ in given}:
        text = environ.get(name_variable(name), "")
        given += [(name, value) for value in (text.split() if name in _REPEATED else [text]) if value]
    if not all(_apply(arguments, name, value) for name, value in given):
        return None
    arguments.web = arguments.web or [DEFAULT_ADDRESS]
    return arguments


def _split(words: list[str]) -> list[tuple[str, str]] | None:
    """Return the options with a value, and at most one file; None for anything else."""
    given, files = [], 0
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if word in FLAGS:
            continue
        if word == "-" or not word.startswith("-"):
            files += 1
            continue
        text = value if equals else next(rest, None)
        if name not in OPTIONS or text is None:
            return None
        given.append((name, text))
    return given if files <= 1 else None


def _apply(arguments: Arguments, name: str, value: str) -> bool:
    """Set an option. Returns whether its value is valid; the worker validates the options that the keeper ignores."""
    if name == _WEB:
        arguments.web.append(value)
    elif name == _PROBE:
        arguments.probe.append(value)
    elif name == _WEB_CONFIG:
        arguments.web_config = True
    elif name == _LEVEL:
        arguments.level = value
        return value in LEVELS
    elif name == _FORM:
        arguments.form = value
        return value in FORMS
    elif name == _DELAY:
        return _apply_delay(arguments, value)
    return True


def _apply_delay(arguments: Arguments, value: str) -> bool:
    try:
        arguments.delay = parse_seconds(value)
    except ValueError:
        return False
    return 0 <= arguments.delay < float("inf")
