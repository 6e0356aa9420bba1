"""The options of the commands that connect to a running exporter. They share environment variables, those of `ask`."""

import functools
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from exporter.ask import MAX_TIMEOUT, URL, Access
from exporter.cli.parts import Seconds, complete_files, option

PATIENCE = 5
"""Seconds until a response, by default, for a command that a person runs."""

_F = TypeVar("_F", bound=Callable[..., Any])
_option = partial(option, command="ask")


def take_url(timeout: float) -> Callable[[_F], _F]:
    """Return a decorator that adds --url and --timeout, which has this default."""

    def add(function: _F) -> _F:
        limit = _option(
            "--timeout",
            type=Seconds(min=0, min_open=True, max=MAX_TIMEOUT),
            default=timeout,
            show_default=True,
            metavar="SECONDS",
            help="Time limit for the whole request, name resolution included.",
        )
        return _option("--url", default=URL, show_default=True, metavar="URL", help="URL of the exporter.")(
            limit(function)
        )

    return add


def take_access(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options for TLS and a password to a command. It gets them as `access`."""

    @_option(
        "--ca-file", default="", metavar="FILE", shell_complete=complete_files, help="Trust the CAs in this PEM file."
    )
    @_option("--insecure", is_flag=True, help="Accept any certificate.")
    @_option("--username", default="", metavar="NAME", help="User to authenticate as.")
    @_option(
        "--password-file",
        default="",
        metavar="FILE",
        shell_complete=complete_files,
        help="File that contains the password.",
    )
    @functools.wraps(function)
    def wrapper(*, ca_file: str, insecure: bool, username: str, password_file: str, **options: Any) -> int:
        return function(access=Access(ca_file, insecure, username, password_file), **options)

    return wrapper
