"""A YAML document that knows its lines, so that every complaint can give one.

Theory of operation. A file passes through three steps, each in a module of its own:

1. `nodes.compose` parses the bytes into nodes. A node has the line where it begins.
2. `data.Builder` turns the nodes into plain dicts, lists and scalars, and records the line of every place by its path,
   such as `("checks", 1, "httpGet", "port")`.
3. `Document.validate` makes a model of the data. A complaint of the model, or of a rule that ties several fields
   together, has a path, and `Document.find_line` finds the line of that path.

If a text is not YAML or is too large, reading stops at once, because the rest of it is unknown. All other
complaints are collected and reported together. Duplicate keys, alias bombs, custom tags and files that are larger than
any sane configuration become complaints, never a traceback.

The data is read twice. The rules read it as it is, because they must work on a document that has other errors. The
models read it as JSON, so that they see only the types that YAML has.
"""

import json
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from exporter.config.complaint import Complaint, ConfigError, Keys, UnreadableError
from exporter.config.data import Builder, Count
from exporter.config.explain import explain
from exporter.config.nodes import compose
from exporter.config.unknown_keys import find_misspelled, hide_secret_keys
from exporter.host.reader import read

MAX_BYTES = 4 * 2**20  # a ConfigMap has at most 1 MiB

Model = TypeVar("Model", bound=BaseModel)


@dataclass(slots=True)
class Document:
    """A file's content as plain dicts, lists and scalars, with the line of every place."""

    source: str
    data: Any = None
    lines: dict[Keys, int] = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)
    unreadable: set[Keys] = field(default_factory=set)
    """Places whose value is unknown. `complaints` has the reason; complaints that only follow from it are left out."""
    content: bytes = field(default=b"", repr=False)

    @classmethod
    def read(cls, path: Path) -> "Document":
        """Read a regular file. Raises ConfigError: UnreadableError if it cannot be read, or not by a deadline."""
        try:
            content = read(path, MAX_BYTES + 1)
        except OSError as error:
            raise UnreadableError([explain_unreadable(str(path), error)]) from None
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: bytes, source: str, count: Count | None = None) -> "Document":
        """Parse a file's content. Raises ConfigError if it is not valid YAML; all other errors are in `complaints`.

        `count` counts the values of several files together.
        """
        if len(content) > MAX_BYTES:
            message = f"is larger than {MAX_BYTES // 2**20} MiB, which is too large for a configuration"
            raise ConfigError([Complaint(source, None, (), message)])
        root = compose(content, source)
        if root is None:
            return cls(source, content=content)
        builder = Builder(source, count)
        return cls(source, builder.build(root), builder.lines, builder.complaints, builder.unreadable, content)

    def find_line(self, path: Keys) -> int | None:
        """Return the line of a place, or of the nearest enclosing place if this one is not in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def find_mapping(self, *path: str) -> dict[str, Any]:
        """Return the mapping at a path; empty if it is missing, so that rules can be checked in a broken document."""
        value = self.data
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}

    def make_complaint(self, path: Keys, message: str) -> Complaint:
        """Return a complaint about a place in this document."""
        return Complaint(self.source, self.find_line(path), path, message)

    def validate(
        self,
        model: type[Model],
        violations: Iterable[Complaint] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Model:
        """Return the document as this model.

        `violations` are complaints about rules that the model does not check. `$(NAME)` is a variable of `environment`,
        by default that of the process. Raises ConfigError with these, the document's own complaints, and the model's.
        """
        violations = [complaint for complaint in violations if complaint.path not in self.unreadable]
        complaints = [*self.complaints, *violations]
        try:
            with self.report_exceptions():
                value = _validate(model, self.data, environment)
        except ValidationError as error:
            complaints += self._explain(model, error, {complaint.path for complaint in violations})
        except ConfigError as error:
            complaints += list(self._find_failing_checks(model, environment)) or error.complaints
        if complaints:
            raise ConfigError(
                [replace(complaint, path=hide_secret_keys(model, complaint.path)) for complaint in complaints]
            )
        return value

    @contextmanager
    def report_exceptions(self, path: Keys = ()) -> Iterator[None]:
        """Turn an exception in the code of a plugin's kind into a complaint about the place at this path.

        The complaint has no text of the exception, which may contain a value. Raises ConfigError.
        """
        try:
            yield
        except (ValidationError, MemoryError):  # the file is not at fault for the latter
            raise
        except Exception as error:  # noqa: BLE001  # a plugin may raise anything
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}:{frame.lineno}"
            message = f"the code of a kind failed: {type(error).__name__} ({where})"
            raise ConfigError([self.make_complaint(path, message)]) from None

    def _find_failing_checks(
        self, model: type[BaseModel], environment: Mapping[str, str] | None
    ) -> Iterator[Complaint]:
        """Validate each check alone, and yield complaints about those whose kinds raise an exception."""
        checks = self.data.get("checks") if isinstance(self.data, dict) else None
        for index, check in enumerate(checks if isinstance(checks, list) else ()):
            try:
                with self.report_exceptions(("checks", index)):
                    _validate(model, {"checks": [check]}, environment)
            except ValidationError:
                continue
            except ConfigError as error:
                yield from error.complaints

    def _explain(self, model: type[BaseModel], error: ValidationError, explained: set[Keys]) -> Iterator[Complaint]:
        """Yield the model's complaints, except those that follow from another error or are explained already."""
        details = error.errors(include_url=False)
        known = explained | self.unreadable | find_misspelled(model, details)
        for detail in details:
            path = tuple(key for key in detail["loc"] if key != "[key]")
            place = path[:-1] if detail["type"] == "missing" else path
            if path in known or place in self.unreadable:
                continue
            if detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]:
                continue  # too short only because some of its entries are wrong
            yield Complaint(self.source, self.find_line(place), path, explain(model, detail))


def explain_unreadable(path: str, error: OSError) -> Complaint:
    """Return the complaint about a file that cannot be read."""
    hint = "; only a shell replaces ~, $ and *" if set(path) & set("~$*") else ""
    return Complaint(path, None, (), f"cannot be read: {error.strerror}{hint}")


def _validate(model: type[Model], data: Any, environment: Mapping[str, str] | None) -> Model:
    # Strict, so that text is not accepted as a number; as JSON, so that a list is accepted as a tuple.
    return model.model_validate_json(json.dumps(data), strict=True, context=environment, by_alias=True, by_name=False)
