"""Values that are never shown: the configuration says where they are, and only a run reads them."""

import os
from pathlib import Path
from typing import Self

from pydantic import model_validator

from exporter.model import ProbeError, Reason
from exporter.probe.options import Options

SIZE_LIMIT = 64 * 1024  # characters; a token has a few thousand at most


class Secret(Options):
    """`{env: NAME}` or `{file: path}`. Read anew at every run, so a rotated file needs no reload."""

    env: str | None = None
    """Name of an environment variable of the exporter."""
    file: Path | None = None
    """Path of a file; line ends at its end are not part of the value."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("is either {env: NAME} or {file: path}")
        return self

    def read(self) -> str:
        """The value. Raises ProbeError where there is none: without it nobody can look."""
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise ProbeError(Reason.MISSING, f"the environment variable {self.env} is not set")
            return value
        assert self.file is not None
        try:
            with self.file.open(encoding="utf-8") as file:
                return file.read(SIZE_LIMIT).rstrip("\r\n")
        except FileNotFoundError:
            raise ProbeError(Reason.MISSING, f"the file {self.file} does not exist") from None
        except PermissionError:
            raise ProbeError(Reason.PERMISSION, f"the file {self.file} may not be read") from None
        except (OSError, UnicodeDecodeError):
            raise ProbeError(Reason.ERROR, f"the file {self.file} cannot be read as text") from None


class BasicAuth(Options):
    """A user and a password, sent as basic authentication."""

    username: str
    """The user's name."""
    password: Secret
    """The password."""


def hidden(text: str, *values: str) -> str:
    """The text without these values: what was told a server, it may say in its answer."""
    for value in filter(None, values):
        text = text.replace(value, "***")
    return text
