"""Checks that are functions of an application: when they are called, and what their return values mean."""

import inspect
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Self, TypeVar

from pydantic import PrivateAttr, ValidationError
from pydantic.alias_generators import to_snake

from exporter.config.checks import CheckOptions
from exporter.config.complaint import Complaint, ConfigError
from exporter.config.explain import explain
from exporter.evaluation.run import attempt
from exporter.model import Deadline, Group, Outcome, Reason, Spec, Status
from exporter.probe.check import FUNCTION, Check, Probe

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

CheckFunction = TypeVar("CheckFunction", bound=Callable[..., bool | Outcome | None])
"""A check function. None or True passes, False fails, an Outcome is used as it is, and an exception is a failure."""


class _Call(Probe):
    """Calls a function, however long it takes."""

    function: Callable[..., object]
    takes_deadline: bool

    def probe(self, deadline: Deadline) -> Outcome:
        """Call the function, and interpret its result. Raises TypeError for a result of another type."""
        match self.function(deadline) if self.takes_deadline else self.function():
            case Outcome() as outcome:
                return outcome
            case None | True:
                return Outcome.passed("the function returned")
            case False:  # the function itself worked, so the reason is not `error`
                return Outcome.failed(Reason.STATUS, "the function returned False")
            case other:
                raise TypeError(
                    f"a check returns None, True, False or an Outcome; this one returned {type(other).__name__}"
                )


class Function(Probe):
    """A function of the application. It fails if it has not returned by the deadline.

    Nothing can interrupt a function. So each call has its own thread, and no further call starts while one hangs.
    """

    call: _Call
    _running: Future[Outcome] | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, function: Callable[..., object]) -> Self:
        """Make a probe that calls this function. Raises TypeError if the function takes other arguments."""
        return cls(call=_Call(function=function, takes_deadline=_takes_deadline(function)))

    @property
    def target(self) -> str:
        """The module and name of the function."""
        function = self.call.function
        return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"

    def probe(self, deadline: Deadline) -> Outcome:
        """Call the function, and wait for it until the deadline."""
        if self._running is not None and not self._running.done():
            return Outcome.failed(Reason.TIMEOUT, "an earlier call of the function has not returned")
        self._running = running = _start(self.call, deadline)
        try:
            return running.result(max(0.0, deadline.remaining()))
        except TimeoutError:
            return Outcome.failed(Reason.TIMEOUT, "the function did not return in time")


def _start(call: _Call, deadline: Deadline) -> Future[Outcome]:
    """Call the function in a daemon thread, which does not keep the process from exiting."""
    future: Future[Outcome] = Future()
    check = Check(Spec(FUNCTION, FUNCTION), call)

    def run() -> None:
        future.set_result(attempt(check, deadline, raised=Status.FAIL))

    threading.Thread(target=run, name=FUNCTION, daemon=True).start()
    return future


@dataclass(frozen=True, slots=True)
class Timing:
    """When a function is called, and how its results count. Seconds may be fractions."""

    period: float
    timeout: float
    success_threshold: int
    failure_threshold: int

    def __post_init__(self) -> None:
        for name in ("period", "timeout"):
            seconds = getattr(self, name)
            if not math.isfinite(seconds):
                raise ValueError(f"{name} must be finite, not {seconds}")
            if seconds <= 0:
                raise ValueError(f"{name} must be greater than 0, not {seconds}")
        for name in ("success_threshold", "failure_threshold"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def build_spec(self, name: str, target: str, **values: object) -> Spec:
        """Make the Spec, with the rules of a configuration file. Raises ValueError for values that they reject.

        `values` are options of a check, by their names in CheckOptions.
        """
        options = _validate_options({"name": name, **values})
        if self.success_threshold > 1 and options.groups & {Group.LIVENESS, Group.STARTUP}:
            raise ValueError("success_threshold must be 1 for liveness and startup, as in Kubernetes")
        return Spec(
            name=options.name,
            kind=FUNCTION,
            target=target,
            groups=options.groups | {Group.ALL},
            severity=options.severity,
            depends_on=options.depends_on,
            owner=options.owner,
            description=options.description,
            runbook_url=options.runbook_url,
            period=self.period,
            timeout=self.timeout,
            success_threshold=self.success_threshold,
            failure_threshold=self.failure_threshold,
            stale_after=self.failure_threshold * self.period + self.timeout,
        )


def _validate_options(values: dict[str, object]) -> CheckOptions:
    """Return the options of a check. Raises ConfigError, whose message names the argument and shows no value."""
    try:
        return CheckOptions.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)
    complaints = []
    for detail in details:
        name, *rest = detail["loc"]
        argument = to_snake(str(name))
        complaints.append(Complaint("@health.check", None, (argument, *rest), explain(CheckOptions, detail)))
    raise ConfigError(complaints)


def _takes_deadline(function: Callable[..., object]) -> bool:
    """Return whether to pass the Deadline. Raises TypeError if the function can be called neither way."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError("a check is a plain function, not an async one or a generator")
    parameters = inspect.signature(function).parameters.values()
    required = [
        parameter
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind not in _VARIADIC
    ]
    if len(required) > 1 or any(parameter.kind is parameter.KEYWORD_ONLY for parameter in required):
        raise TypeError("a check takes no arguments, or only the Deadline")
    return bool(required)
