"""The exporter inside an application's own process. Like the command line, it builds every part.

Threads do not survive a fork, so nothing starts before the process that answers is asked for the first time, and a
forked process begins anew.
"""

import atexit
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from exporter.config.checks import load
from exporter.embedded.blueprint import Blueprint, Flask, blueprint, precede
from exporter.embedded.function import Function, Looks, Timing
from exporter.evaluation.schedule import Schedule
from exporter.evaluation.store import Store
from exporter.model import Group, Severity, Vitals
from exporter.probe.check import Check, Probe
from exporter.server import routes as web

_REQUEST = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_PORT", "SERVER_PROTOCOL")
_HEADERS = ("HTTP_ACCEPT", "HTTP_ACCEPT_ENCODING")


class _Evaluation:
    """The parts with which one process evaluates and answers."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.begun = self.over = False
        self.store, self.answers = Store(), web.Answers()
        # Workers of one server share what they ask, too: each has its own places in the period.
        self.schedule = Schedule(self.store, host=f"{socket.gethostname()}-{os.getpid()}")
        self.app = web.create_app(self.store, self.answers, self.vitals)
        self._loaded = time.time()

    def watch(self, checks: Iterable[Check]) -> None:
        """Run these from now on."""
        self.schedule.replace(self.store.configure(checks))

    def vitals(self) -> Vitals:
        """The schedule's condition; the configuration is what it was at the start."""
        return replace(self.schedule.vitals(), reload_time=self._loaded)


class HealthExporter:
    """Health checks of an application, on their own schedule, and the answers for probes, Prometheus and people.

    `config` is a configuration file, read once, whose checks are watched beside the functions.
    """

    def __init__(self, config: str | os.PathLike[str] | None = None) -> None:
        loaded = load(Path(config)).checks if config is not None else ()
        self._checks = {each.spec.name: each for each in loaded}
        self._evaluation = _Evaluation()
        me = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _renew(me()))

    def check(
        self,
        *,
        name: str | None = None,
        period: float = 10,
        timeout: float = 1,
        failure_threshold: int = 3,
        success_threshold: int = 1,
        groups: Iterable[str] = (Group.READINESS,),
        severity: str = Severity.CRITICAL,
        depends_on: Iterable[str] = (),
    ) -> Callable[[Looks], Looks]:
        """Watch the decorated function, which stays as it is. Its own name is the check's unless one is given.

        `depends_on` names checks that are there already, without which this one cannot be well. Raises ValueError or
        TypeError for what cannot be a check.
        """
        timing = Timing(period, timeout, success_threshold, failure_threshold)

        def watched(function: Looks) -> Looks:
            probe = Function.of(function)
            chosen = name if name is not None else getattr(function, "__name__", "")
            self._add(Check(timing.spec(chosen, probe.target, groups, severity, depends_on), probe))
            return function

        return watched

    def blueprint(self, name: str = "health") -> Blueprint:
        """The endpoints, for an application's `register_blueprint`."""
        rules = self._evaluation.app.url_map.iter_rules()
        return blueprint(name, self.wsgi, [rule.rule for rule in rules if "GET" in (rule.methods or ())])

    def init_app(self, app: Flask) -> None:
        """Begin with the application's first request in each process, whatever it is for."""
        precede(app, self._begin)

    def wsgi(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The endpoints as a WSGI application."""
        self._begin()
        return self._evaluation.app.wsgi_app(_own_environ(environ), start_response)

    def start(self) -> None:
        """Begin now, in this process; without it, the first request begins. Raises RuntimeError after `stop`."""
        if self._evaluation.over:
            raise RuntimeError("this HealthExporter was stopped, which is for good: make another")
        self._begin()

    def stop(self) -> None:
        """Run no more checks. Readiness is false from now on, and answers go on."""
        evaluation = self._evaluation
        with evaluation.lock:
            begun, evaluation.begun, evaluation.over = evaluation.begun and not evaluation.over, True, True
        evaluation.store.drain()
        if begun:
            atexit.unregister(self.stop)
            evaluation.schedule.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.stop()

    def _begin(self) -> None:
        evaluation = self._evaluation
        if evaluation.begun:  # without the lock: every request comes here
            return
        with evaluation.lock:
            if not evaluation.begun:
                evaluation.watch(self._checks.values())
                evaluation.begun = True
                atexit.register(self.stop)

    def _add(self, check: Check) -> None:
        evaluation = self._evaluation
        with evaluation.lock:
            if check.spec.name in self._checks:
                raise ValueError(f"the name {check.spec.name!r} is taken by another check")
            if unknown := [name for name in check.spec.depends_on if name not in self._checks]:
                raise ValueError(
                    f"there is no check {unknown[0]!r} yet: what {check.spec.name!r} depends on comes first"
                )
            self._checks[check.spec.name] = check
            if evaluation.begun and not evaluation.over:
                evaluation.watch(self._checks.values())

    def _renew(self) -> None:
        """Begin anew in a forked process, with nothing that was under way in the other."""
        self._checks = {name: Check(each.spec, _unused(each.probe)) for name, each in self._checks.items()}
        self._evaluation = _Evaluation()


def _renew(health: HealthExporter | None) -> None:
    if health is not None:
        health._renew()  # noqa: SLF001  # only this module's


def _unused(probe: Probe) -> Probe:
    """The same probe, as it was configured."""
    return type(probe)(**probe.__dict__)


def _own_environ(environ: dict[str, Any]) -> dict[str, Any]:
    """Only what an answer depends on. Without the Host header too: Werkzeug refuses requests for some of them."""
    own = {key: value for key, value in environ.items() if key.startswith("wsgi.") or key in (*_REQUEST, *_HEADERS)}
    return {**own, "SERVER_NAME": "localhost"}
