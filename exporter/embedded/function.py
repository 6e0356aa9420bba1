"""A function of an application as a check: what its answer means, and when it is called."""

import inspect
import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Self, TypeVar

from pydantic import PrivateAttr

from exporter.config.checks import CheckOptions
from exporter.evaluation.run import attempt
from exporter.model import Deadline, Group, Outcome, Reason, Spec, Status
from exporter.probe.check import FUNCTION, Check, Probe

_COLLECTING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

Looks = TypeVar("Looks", bound=Callable[..., bool | Outcome | None])
"""A function that looks: nothing or True is well, False is not, an Outcome is itself, an exception is a failure."""


class _Call(Probe):
    """Calls a function, for as long as it takes."""

    function: Callable[..., object]
    takes_deadline: bool

    def probe(self, deadline: Deadline) -> Outcome:
        """What the function's answer means."""
        match self.function(deadline) if self.takes_deadline else self.function():
            case Outcome() as outcome:
                return outcome
            case None | True:
                return Outcome.passed("the function returned")
            case False:  # the function worked, and its answer is not the one that is expected
                return Outcome.failed(Reason.STATUS, "the function returned False")
            case other:
                raise TypeError(f"a check returns None, True, False or an Outcome, this one {type(other).__name__}")


class Function(Probe):
    """A function of the application, given up at its deadline.

    Nothing can interrupt a function. Each call has a thread of its own, and while a call hangs there is no other.
    """

    call: _Call
    _act: Future[Outcome] | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, function: Callable[..., object]) -> Self:
        """The probe that calls this function. Raises TypeError for one that cannot be called so."""
        return cls(call=_Call(function=function, takes_deadline=_takes_deadline(function)))

    @property
    def target(self) -> str:
        """Where the function is."""
        function = self.call.function
        return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"

    def probe(self, deadline: Deadline) -> Outcome:
        """Call the function, and wait for it until the deadline."""
        if self._act is not None and not self._act.done():
            return Outcome.failed(Reason.TIMEOUT, "an earlier call of the function has not returned")
        self._act = act = _begun(self.call, deadline)
        try:
            return act.result(max(0.0, deadline.remaining()))
        except TimeoutError:
            return Outcome.failed(Reason.TIMEOUT, "the function has not returned in time")


def _begun(call: _Call, deadline: Deadline) -> Future[Outcome]:
    """The call, in a thread that does not keep the process from its end."""
    act: Future[Outcome] = Future()
    check = Check(Spec(FUNCTION, FUNCTION), call)
    look = threading.Thread(
        target=lambda: act.set_result(attempt(check, deadline, raised=Status.FAIL)), name=FUNCTION, daemon=True
    )
    look.start()
    return act


@dataclass(frozen=True, slots=True)
class Timing:
    """When a function is called and how its answers count. Seconds may be fractions."""

    period: float
    timeout: float
    success_threshold: int
    failure_threshold: int

    def __post_init__(self) -> None:
        for name in ("period", "timeout"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and seconds > 0):
                raise ValueError(f"{name} must be above 0 and finite, not {seconds}")
        for name in ("success_threshold", "failure_threshold"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def spec(self, name: str, target: str, groups: Iterable[str], severity: str, depends_on: Iterable[str]) -> Spec:
        """The whole of it, by the rules of a configuration file."""
        options = CheckOptions.model_validate(
            {"name": name, "groups": groups, "severity": severity, "dependsOn": depends_on}
        )
        if self.success_threshold > 1 and options.groups & {Group.LIVENESS, Group.STARTUP}:
            raise ValueError("success_threshold must be 1 for liveness and startup, as in Kubernetes")
        return Spec(
            name=options.name,
            kind=FUNCTION,
            target=target,
            groups=options.groups | {Group.ALL},
            severity=options.severity,
            depends_on=options.depends_on,
            period=self.period,
            timeout=self.timeout,
            success_threshold=self.success_threshold,
            failure_threshold=self.failure_threshold,
            stale_after=self.failure_threshold * self.period + self.timeout,
        )


def _takes_deadline(function: Callable[..., object]) -> bool:
    """Whether it is called with the Deadline. Raises TypeError for a function that cannot be called either way."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError("a check is a plain function, not an async one or a generator")
    parameters = inspect.signature(function).parameters.values()
    needed = [each for each in parameters if each.default is each.empty and each.kind not in _COLLECTING]
    if len(needed) > 1 or any(each.kind is each.KEYWORD_ONLY for each in needed):
        raise TypeError("a check takes no argument, or only the Deadline")
    return bool(needed)
