"""Limits on an answer's number, for the kinds whose answer may be one."""

import math
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from exporter.model import Measurement, Outcome, Reason
from exporter.probe.check import Probe

_Limit = Annotated[float, Field(strict=True, allow_inf_nan=False)] | None


class Limited(Probe):
    """A kind that may judge a number that it is answered."""

    warn: _Limit = None
    """Number at and above which it warns."""
    fail: _Limit = None
    """Number at and above which it fails."""
    falling: bool = False
    """The limits are the least that is well: at and below them it warns and fails."""

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if self.falling and not self._limited:
            raise ValueError("falling needs a limit, warn or fail")
        if self.warn is not None and self.fail is not None and self._beyond(self.warn, self.fail):
            raise ValueError(f"warn must not be {'below' if self.falling else 'above'} fail")
        return self

    @property
    def _limited(self) -> bool:
        return self.warn is not None or self.fail is not None

    def _beyond(self, one: float, other: float) -> bool:
        return one < other if self.falling else one > other

    def compare(self, name: str, said: str, answer: Any, *others: Measurement) -> Outcome:
        """What an answer means: a number is measured under this name, anything else passes where there are no limits.

        Only numbers are shown: other answers may be nobody's business.
        """
        value = number(answer)
        if value is not None:
            measured = Measurement(name, value, self.warn, self.fail, falling=self.falling)
            return Outcome.measured(f"{said} with {value:g}", measured, *others)
        if not self._limited:
            return Outcome.passed(said, *others)
        if answer is None:
            return Outcome.failed(Reason.MISSING, f"{said} with no value", *others)
        return Outcome.failed(Reason.BODY, f"{said} with what is no number", *others)


def number(answer: Any) -> float | None:
    """The finite number that this is, or spells; None where it is none."""
    try:
        value = float(answer)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None
