"""Secrets: the configuration names their source, a run of the check reads them, and nothing shows them."""

import os
from pathlib import Path
from typing import Self

from pydantic import model_validator

from exporter.model import ProbeError, Reason
from exporter.probe.options import Options

MAX_SECRET = 64 * 1024  # characters; a token has a few thousand at most


class Secret(Options):
    """A value given as `{env: NAME}` or `{file: PATH}`. Every run reads it again, so a rotated file needs no reload."""

    env: str | None = None
    """Name of an environment variable of the exporter."""
    file: Path | None = None
    """Path of a file with the value. Line breaks at its end are removed."""

    @model_validator(mode="after")
    def _validate_source(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("must be either {env: NAME} or {file: PATH}")
        return self

    def read(self) -> str:
        """Read the value. Raises ProbeError if it is missing, because the check cannot run without it."""
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise ProbeError(Reason.MISSING, f"the environment variable {self.env} is not set")
            return value
        assert self.file is not None
        try:
            with self.file.open(encoding="utf-8") as file:
                return file.read(MAX_SECRET).rstrip("\r\n")
        except FileNotFoundError:
            raise ProbeError(Reason.MISSING, f"the file {self.file} does not exist") from None
        except PermissionError:
            raise ProbeError(Reason.PERMISSION, f"the file {self.file}: permission denied") from None
        except (OSError, UnicodeDecodeError):
            raise ProbeError(Reason.ERROR, f"the file {self.file} cannot be read as UTF-8 text") from None


class BasicAuth(Options):
    """A user and a password for HTTP basic authentication."""

    username: str
    """Name of the user."""
    password: Secret
    """Password of the user."""


def hide(text: str, *values: str) -> str:
    """Replace these values in the text: a server's response may repeat a password that was sent to it."""
    for value in filter(None, values):
        text = text.replace(value, "***")
    return text
