"""Secrets: the configuration names their source, a run of the check reads them, and nothing shows them."""

import codecs
import os
import threading
from collections.abc import Iterable, Iterator
from typing import Self

from pydantic import BaseModel, model_validator

from exporter.host.reader import explained, read
from exporter.model import Deadline, ProbeError, Reason
from exporter.probe.check import Check
from exporter.probe.options import InputFile, Options, Variable
from exporter.probe.reference import explain_unset, show_variable
from exporter.redaction import MASK, MIN_PIECE, describe

MAX_SECRET = 64 * 1024  # bytes; a token has a few thousand at most


class _Thread(threading.local):
    secrets: list[str] | None = None


_thread = _Thread()


def record_secrets() -> list[str]:
    """Return a list of the secrets that this thread reads from now on, so that nothing shows them."""
    secrets: list[str] = []
    _thread.secrets = secrets
    return secrets


def remember(secret: str) -> None:
    """Add a secret, or another form of one, to the list of this thread.

    A shorter one is left out: a mask in place of each `1` would hide everything else.
    """
    if _thread.secrets is not None and len(secret) >= MIN_PIECE:
        _thread.secrets.append(secret)


class Secret(Options):
    """A value given as `{env: NAME}` or `{file: PATH}`. Every run reads it again, so a rotated file needs no reload."""

    env: Variable | None = None
    """Name of an environment variable of the exporter. Line breaks at its end are removed."""
    file: InputFile | None = None
    """Path of a file with the value, in UTF-8. Line breaks at its end and a byte order mark are removed."""

    @model_validator(mode="after")
    def _validate_source(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("must be either {env: NAME} or {file: PATH}")
        return self

    def read(self, deadline: Deadline | None = None) -> str:
        """Read the value. Raises ProbeError if that is not possible, because the check cannot run without it.

        A file that is not read by the deadline has the reason `timeout`; without a deadline, after 5 seconds. No
        summary of the run shows the value, nor a relative path, which may be the secret in the wrong place.
        """
        try:
            value = _decode(*self._read(deadline))
        except ProbeError as error:
            text = str(error)
            if self.file is not None and not self.file.is_absolute():
                text = text.replace(str(self.file), f"({describe(str(self.file))})")
            raise ProbeError(error.reason, text) from None
        remember(value)
        return value

    def _read(self, deadline: Deadline | None) -> tuple[bytes, str]:
        """Return the content and the name of the source."""
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise ProbeError(Reason.MISSING, explain_unset([self.env]))
            return os.fsencode(value), f"the environment variable {show_variable(self.env)}"
        assert self.file is not None
        with explained():
            content = read(self.file, MAX_SECRET + 1, deadline)
        if len(content) > MAX_SECRET:
            raise ProbeError(Reason.ERROR, f"the file {self.file} is larger than {MAX_SECRET // 1024} KiB")
        return content, f"the file {self.file}"


def _decode(content: bytes, source: str) -> str:
    """Return the text without what editors and shells add: line breaks at its end, and a byte order mark."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise ProbeError(Reason.ERROR, f"{source} is UTF-16 or binary: save it as UTF-8 text")
    try:
        return content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ProbeError(Reason.ERROR, f"{source} is not UTF-8 text") from None


def hint_at_password(password: str) -> str:
    """Return what a message about denied access adds if the password looks like a mistake."""
    return " (the password begins or ends with white space)" if password != password.strip() else ""


class BasicAuth(Options):
    """A user and a password for HTTP basic authentication."""

    username: str
    """Name of the user."""
    password: Secret
    """Password of the user."""


def hide(text: str, *values: str) -> str:
    """Replace these values in the text: a server's response may repeat a password that was sent to it."""
    for value in filter(None, values):
        text = text.replace(value, MASK)
    return text


def withhold_secrets(configured: Iterable[Check], running: Iterable[Check]) -> None:
    """Withhold the environment variables that hold secrets of the configured checks from the running ones.

    These are not always the same checks: another shard can run some of the configured ones, and a reload keeps the
    probes of unchanged checks.
    """
    variables = frozenset(name for check in configured for name in _find_variables(check.probe))
    for check in running:
        check.probe.withhold(variables)


def _find_variables(value: object) -> Iterator[str]:
    """Yield the names of the environment variables that the secrets in these options are read from."""
    if isinstance(value, Secret):
        if value.env is not None:
            yield value.env
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _find_variables(getattr(value, name))
    elif isinstance(value, dict):
        yield from _find_variables(tuple(value.values()))
    elif isinstance(value, tuple | list | set | frozenset):
        for item in value:
            yield from _find_variables(item)
