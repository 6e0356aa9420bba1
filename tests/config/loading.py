"""Documents and configurations that come from no file."""

from typing import Any

import pytest

from exporter.config.checks import build_model
from exporter.config.complaint import Complaint, ConfigError
from exporter.config.document import Document
from exporter.config.rules import find_violations


def parse(text: str | bytes) -> Document:
    """The document of this text."""
    return Document.parse(text if isinstance(text, bytes) else text.encode(), "x.yml")


def refused(text: str | bytes) -> str:
    """The complaints about this text, which is not valid YAML."""
    with pytest.raises(ConfigError) as error:
        parse(text)
    return str(error.value)


def find_complaints(data: Any) -> list[Complaint]:
    """Every complaint about a configuration with this data; none if it is valid."""
    document = Document("generated", data)
    try:
        (violations,) = find_violations([document])
        document.validate(build_model(), violations, environment={})
    except ConfigError as error:
        return error.complaints
    return []


def complaints_about(data: Any) -> list[str]:
    """The messages of these complaints."""
    return [complaint.message for complaint in find_complaints(data)]
