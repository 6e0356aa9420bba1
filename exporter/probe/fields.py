"""Values of a response by their names: the columns and rows of a table, and the expectations of each value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import model_validator

from exporter.model import Measurement, Outcome, Reason, Status
from exporter.net.errors import DialError
from exporter.probe.limits import Limits, parse_number
from exporter.probe.options import Options, Text
from exporter.redaction import quote, show_key

ABSENT = object()
"""Stands for a value that is not in a table. A value that is there can be None."""


class _Named(Options):
    name: Text
    """Name of the value, in any case."""


class Field(Limits, _Named):
    """A value by its name, and what it must be. It must be there."""

    equals: str | None = None
    """Fails when the value is not this text."""

    @model_validator(mode="after")
    def _validate_expectation(self) -> Self:
        if self.equals is not None and self._has_limits:
            raise ValueError("equals compares a text, and warn and fail a number: remove one of them")
        return self

    def judge(self, values: Mapping[str, Any], measurement: str) -> Outcome:
        """Return the Outcome for this value alone; a number becomes this measurement."""
        if values.get(self.name) is None:
            cause = "has no value" if self.name in values else "is missing"
            return Outcome.failed(Reason.MISSING, f"{self.name} {cause}")
        value = values[self.name]
        if self.equals is not None:
            text, number = to_text(value), parse_number(value)
            numbers = [] if number is None else [Measurement(measurement, number, field=self.name)]
            if text == self.equals:
                return Outcome.passed(f"{self.name} is as expected", *numbers)
            shown = f"{self.name} is {quote(text.encode())}, expected {quote(self.equals.encode())}"
            return Outcome.failed(Reason.BODY, shown, *numbers)
        if parse_number(value) is None:
            if self._has_limits:
                return Outcome.failed(Reason.BODY, f"{self.name} is not a number")
            return Outcome.passed(f"{self.name} has a value")
        return self.compare(measurement, self.name, value, field=self.name)


def judge_fields(
    fields: Sequence[Field], values: Mapping[str, Any], measurement: str, summary: str, latency: Measurement
) -> Outcome:
    """Return the Outcome of a response: the worst value decides, and the summary names those that are not healthy."""
    outcomes = [field.judge(values, measurement) for field in fields]
    worst = Outcome.worst(*outcomes)
    decisive = [outcome for outcome in outcomes if outcome.status is not Status.PASS] or outcomes
    shown = "; ".join(outcome.summary for outcome in decisive)
    return Outcome(worst.status, worst.reason, f"{summary}: {shown}", (*worst.measurements, latency))


@dataclass(frozen=True, slots=True)
class Table:
    """The result of a query: the names of its columns, and its rows."""

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def find_column(self, name: str | None) -> int:
        """Return the index of a column; of the first one if there is no name. Raises DialError if it is not there."""
        if name is None:
            return 0
        for index, other in enumerate(self.names):
            if other.casefold() == name.casefold():
                return index
        message = f"the result has no column {show_key(name)}, only {', '.join(self.names)}"
        raise DialError(Reason.MISSING, message)

    def find_row(self, values: Mapping[str, str]) -> Sequence[Any] | None:
        """Return the first row with these values in these columns; None if the result has no rows at all.

        Raises DialError if none of the rows has them.
        """
        columns = {self.find_column(name): text for name, text in values.items()} if self.names else {}
        for row in self.rows:
            if all(to_text(row[index]) == text for index, text in columns.items()):
                return row
        if not values:
            return None
        wanted = " and ".join(f"{show_key(name)} {quote(text.encode())}" for name, text in values.items())
        raise DialError(Reason.MISSING, f"the result has no row with {wanted}")

    def find_field(self, name: str, row: Sequence[Any] | None) -> Any:
        """Return the value of the column with this name, or the one that follows this name in a row; or ABSENT."""
        for index, other in enumerate(self.names):
            if other.casefold() == name.casefold():
                return ABSENT if row is None else row[index]
        for first, *rest in self.rows:
            if rest and to_text(first).casefold() == name.casefold():
                return rest[0]
        return ABSENT


def to_text(value: Any) -> str:
    """Return a value as a text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
