"""Thresholds for a value that a query returns, for the kinds that run one, and for fields of its result."""

import math
from typing import Any, Self

from pydantic import model_validator

from exporter.model import Measurement, Outcome, Reason
from exporter.probe.check import Probe
from exporter.probe.options import Number, Options


class Limits(Options):
    """Thresholds for a value, if they are set."""

    warn: Number | None = None
    """Warns when the value reaches this threshold."""
    fail: Number | None = None
    """Fails when the value reaches this threshold."""
    falling: bool = False
    """Warns or fails when the value is at or below `warn` or `fail`, instead of at or above."""

    @model_validator(mode="after")
    def _validate_limits(self) -> Self:
        if self.falling and not self._has_limits:
            raise ValueError("falling needs a limit, warn or fail")
        if self.warn is not None and self.fail is not None and self._is_beyond(self.warn, self.fail):
            raise ValueError(f"warn must not be {'below' if self.falling else 'above'} fail")
        return self

    @property
    def _has_limits(self) -> bool:
        return self.warn is not None or self.fail is not None

    def _is_beyond(self, one: float, other: float) -> bool:
        return one < other if self.falling else one > other

    def compare(self, name: str, summary: str, value: Any, *others: Measurement, field: str | None = None) -> Outcome:
        """Compare a value with the limits and continue the summary with the result.

        A number becomes the measurement `name`, of a field if there are several. Any other value passes without limits
        and fails with them; the summary never contains it, because it may be confidential.
        """
        number = parse_number(value)
        if number is not None:
            measurement = Measurement(name, number, self.warn, self.fail, falling=self.falling, field=field)
            verb = "is" if field else "with"
            return Outcome.measured(f"{summary} {verb} {measurement.quantity}", measurement, *others)
        if not self._has_limits:
            return Outcome.passed(summary, *others)
        if value is None:
            return Outcome.failed(Reason.MISSING, f"{summary} with no value", *others)
        return Outcome.failed(Reason.BODY, f"{summary} with a value that is not a number", *others)


class Limited(Limits, Probe):
    """A kind that compares a value with thresholds, if they are set."""


def parse_number(value: Any) -> float | None:
    """Return the value, or the text of a number, as a finite number; None if it is neither.

    Only Python reads `1_000`, and digits of other scripts, as numbers.
    """
    if isinstance(value, str | bytes) and (not value.isascii() or "_" in str(value)):
        return None
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None
