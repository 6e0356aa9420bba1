"""The exporter inside an application's own process.

Threads do not survive a fork. So nothing starts before the first request in the process that serves it, and a forked
process starts from the beginning: each use compares the process ID, because uWSGI forks without Python's knowledge.
"""

import atexit
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flask import Blueprint, Flask

from exporter.assembly import Exporter
from exporter.config.checks import load
from exporter.embedded.blueprint import call_before_requests, make_blueprint
from exporter.embedded.function import CheckFunction, Function, Timing
from exporter.forks import reset_if_forked
from exporter.model import Group, Severity
from exporter.probe.check import Check, Probe
from exporter.probe.passive import PassiveProbe

NO_THREADS = "the checks do not run, because this uWSGI has no threads: start it with --enable-threads"

_log = logging.getLogger(__name__)
_REQUEST = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_PORT", "SERVER_PROTOCOL")
_HEADERS = ("HTTP_ACCEPT", "HTTP_ACCEPT_ENCODING")


class _Process:
    """The checks and the exporter of this process. It starts once and stops once."""

    def __init__(self, checks: Iterable[Check]) -> None:
        self._lock = threading.Lock()
        self._checks = {check.spec.name: check for check in checks}
        self._started = self._stopped = False
        # Worker processes of one server check the same targets: the process ID in the name gives each its own slots.
        self.exporter = Exporter(f"{socket.gethostname()}-{os.getpid()}")
        self.app = self.exporter.app  # now, and not once the checks run

    @property
    def stopped(self) -> bool:
        return self._stopped

    def add(self, check: Check) -> None:
        """Run one more check. Raises ValueError if its name is taken, or if it depends on an unknown check."""
        with self._lock:
            if check.spec.name in self._checks:
                raise ValueError(f"the name {check.spec.name!r} is already taken by another check")
            if unknown := [name for name in check.spec.depends_on if name not in self._checks]:
                raise ValueError(
                    f"{check.spec.name!r} depends on {unknown[0]!r}, which does not exist yet: define it first"
                )
            checks = {**self._checks, check.spec.name: check}
            if self._started and not self._stopped:
                self.exporter.watch(checks.values())
            self._checks = checks

    def start(self) -> bool:
        """Run the checks. If it was started or stopped before, do nothing and return False."""
        if self._started:  # without the lock: every request comes here
            return False
        with self._lock:
            if self._started:
                return False
            self.exporter.watch(self._checks.values())
            self._started = True
            return True

    def stop(self) -> bool:
        """Run no more checks, make readiness false, and keep responding. Returns whether it was running."""
        with self._lock:
            running = self._started and not self._stopped
            self._started = self._stopped = True
        self.exporter.store.drain()
        if running:
            self.exporter.schedule.stop()
        return running

    def renew(self) -> "_Process":
        """Return a _Process that has not started, with the same checks and none of their state."""
        return _Process(Check(check.spec, _reset(check.probe)) for check in self._checks.values())


class HealthExporter:
    """Runs an application's health checks on their own schedule, and serves the endpoints for their results.

    `config` is a configuration file or a folder of them, read once, whose checks run in addition to the functions.
    Raises ConfigError if it is invalid, and ValueError if one of its checks waits for heartbeats: each process of an
    application would receive only some of them.
    """

    def __init__(self, config: str | os.PathLike[str] | None = None) -> None:
        checks = load(Path(config)).checks if config is not None else ()
        if waiting := [check.spec.name for check in checks if isinstance(check.probe, PassiveProbe)]:
            raise ValueError(f"{waiting[0]} waits for heartbeats, which only `health-exporter serve` receives")
        self._processes = {os.getpid(): _Process(checks)}  # this process, or until its first use, its parent

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
        owner: str = "",
        description: str = "",
        runbook_url: str = "",
    ) -> Callable[[CheckFunction], CheckFunction]:
        """Decorate a function to run it as a check. The function itself does not change.

        Its name is the check's name unless `name` is given. `period` and `timeout` are in seconds. `depends_on` names
        existing checks that this one depends on. `owner`, `description` and `runbook_url` are shown to people. Raises
        ValueError or TypeError if the arguments or the function cannot be used.
        """
        timing = Timing(period, timeout, success_threshold, failure_threshold)
        options = {
            "groups": groups,
            "severity": severity,
            "depends_on": depends_on,
            "owner": owner,
            "description": description,
            "runbook_url": runbook_url,
        }

        def register(function: CheckFunction) -> CheckFunction:
            probe = Function.of(function)
            check_name = name if name is not None else getattr(function, "__name__", "")
            spec = timing.build_spec(check_name, probe.target, **options)
            self._process.add(Check(spec, probe))
            return function

        return register

    def blueprint(self, name: str = "health") -> Blueprint:
        """Return the endpoints, for an application's `register_blueprint`."""
        rules = self._process.app.url_map.iter_rules()
        return make_blueprint(name, self.wsgi, [rule.rule for rule in rules if "GET" in (rule.methods or ())])

    def init_app(self, app: Flask) -> None:
        """Start with the application's first request in each process, whatever its path."""
        call_before_requests(app, self._start)

    def wsgi(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request: this method is the endpoints as a WSGI application (PEP 3333)."""
        self._start()
        return self._process.app.wsgi_app(_reduce_environ(environ), start_response)

    def start(self) -> None:
        """Start now, in this process. Without it, the first request starts it.

        Raises RuntimeError after `stop`, and under uWSGI without threads.
        """
        if self._process.stopped:
            raise RuntimeError("this HealthExporter was stopped and cannot be started again: make a new one")
        if _lacks_threads():
            raise RuntimeError(NO_THREADS)
        self._start()

    def stop(self) -> None:
        """Run no more checks. From now on readiness is false; the endpoints keep responding."""
        if self._process.stop():
            atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        if self._process.start():
            atexit.register(self.stop)
            if _lacks_threads():  # logged, because an exception would fail a request of the application
                _log.error(NO_THREADS)

    @property
    def _process(self) -> _Process:
        """The _Process of this process. A forked process starts from the beginning, with its first use."""
        return self._processes.get(os.getpid()) or self._renew()

    def _renew(self) -> _Process:
        reset_if_forked()
        pid, known = os.getpid(), dict(self._processes)
        renewed = self._processes.setdefault(pid, next(iter(known.values())).renew())  # the same for all threads
        for other in known.keys() - {pid}:
            self._processes.pop(other, None)
        return renewed


def _lacks_threads() -> bool:
    """Return whether this is uWSGI without threads: those that are started run only while a request does."""
    return not getattr(sys.modules.get("uwsgi"), "has_threads", True)


def _reset(probe: Probe) -> Probe:
    """Return the same probe as configured, without the state of earlier runs."""
    return type(probe)(**{name: getattr(probe, name) for name in probe.model_fields_set})


def _reduce_environ(environ: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the request that an answer depends on.

    The Host header is left out, because Werkzeug rejects some values of it.
    """
    reduced = {key: value for key, value in environ.items() if key.startswith("wsgi.") or key in (*_REQUEST, *_HEADERS)}
    return {**reduced, "SERVER_NAME": "localhost"}
