"""The composition root: builds the parts of an exporter and connects them."""

import logging
import marshal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from exporter import __version__
from exporter.config.checks import Config, load, parse
from exporter.config.files import BUILT_IN, Text
from exporter.evaluation.answered import AnswerLog
from exporter.evaluation.history import Event
from exporter.evaluation.schedule import Schedule
from exporter.evaluation.shard import Shard
from exporter.evaluation.store import Store
from exporter.host.descriptors import Descriptors, estimate_need, raise_limit
from exporter.keeper.link import Link
from exporter.keeper.shared import Kept
from exporter.model import Identity, Vitals
from exporter.probe.check import Check
from exporter.probe.secret import withhold_secrets
from exporter.server.answers import AnswerCounter
from exporter.server.exposition import Exposition
from exporter.server.poller import Poller
from exporter.server.probes import Probes
from exporter.server.reload import Reloader
from exporter.server.sockets import adopt, listen
from exporter.server.users import Users
from exporter.server.web_config import WebConfigFile

if TYPE_CHECKING:
    from flask import Flask

    from exporter.server.history_file import HistoryFile

_log = logging.getLogger(__name__)


class Exporter:
    """One exporter: its schedule, its store, and its endpoints as a WSGI application.

    `serve` runs it as a process of its own. Inside an application's process, the application serves `app` and calls
    `watch` with its own checks.

    The `host` shifts the checks within their periods, so that replicas do not run the same check at the same moment.
    The `link` leads to the keeper, if this process is its worker.
    """

    def __init__(
        self,
        host: str,
        config_files: Sequence[Path] = (),
        shard: Shard = Shard(),  # noqa: B008  # frozen
        web_config_file: Path | None = None,
        link: Link | None = None,
        *,
        lifecycle: bool = False,
        holds: bool = False,
        strict: bool = False,
        history_file: Path | None = None,
        history_size: int = 0,
    ) -> None:
        """With `lifecycle`, POST /-/reload reloads. With `holds`, POST /-/hold suspends restarts.

        With `strict`, `serve` refuses an invalid configuration.

        `config_files` may contain folders. `history_file` keeps the history, in at most `history_size` bytes.
        """
        self._config_files = tuple(config_files)
        self._identity = Identity(host, tuple(map(str, config_files)) or (BUILT_IN.source,), time.time())
        self._shard = shard
        kept = link.shared.web_configuration if link else Kept()
        required = strict or not (link and link.probe)  # the probe listeners do not need it
        self._web_config = WebConfigFile(web_config_file, kept.read(), kept.write, required=required)
        self._web_poller = Poller("web configuration", self._web_config.poll) if web_config_file else None
        self._reloader = Reloader(self._config_files, self._load, reject=self._note_rejection)
        self._link = link
        self._strict = strict
        self.store = Store(first=link.first_generation, show=link.show) if link else Store()
        self.schedule = Schedule(self.store, host=host)
        counter = AnswerCounter(link.shared.answers) if link else AnswerCounter()
        answers = AnswerLog()
        self._history_file = _make_history_file(history_file, history_size, self.store, answers)
        self._probes = Probes(self.store, counter, self.vitals, answers)
        self._exposition = Exposition(self.store, counter, self.vitals)
        self._answers = answers
        self._reload = self._reloader.reload if lifecycle else None
        self._holds = holds
        self._descriptors: Descriptors | None = None
        self._app_lock = Lock()
        self._app: Flask | None = None

    @property
    def app(self) -> "Flask":
        """The endpoints. Made, and Flask imported, when they are first needed.

        Neither the kubelet nor Prometheus needs them: probes and scrapes are answered without Flask.
        """
        with self._app_lock:
            if self._app is None:
                from exporter.server.routes import create_app

                self._app = create_app(
                    self.store,
                    self._probes,
                    self._exposition,
                    self.vitals,
                    self._answers,
                    self.schedule.next_runs,
                    self._reload,
                    holds=self._holds,
                )
            return self._app

    def _call_app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Call the endpoints as a WSGI application, on a thread of the pool: the imports take long."""
        return self.app(environ, start_response)

    def watch(self, checks: Iterable[Check]) -> int:
        """Run the checks that belong to this shard from now on. Returns their number.

        Raises PoolError if the system cannot start enough threads. Then the previous checks stay.
        """
        configured = tuple(checks)
        shared = tuple(self._shard.share(configured))
        self.schedule.hire(shared)
        if self._descriptors and not self._descriptors.suffice(self.schedule.vitals().workers):
            _ = self.app  # now: the checks may leave no descriptors for the import
        running = self.store.configure(shared)
        withhold_secrets(configured, running)
        self.schedule.replace(running)
        return len(running)

    def vitals(self) -> Vitals:
        """Return the exporter's own condition now."""
        reload_ok, reload_time, complaint = self._condition()
        files = (self._reloader, self._web_config)
        return replace(
            self.schedule.vitals(),
            reload_ok=reload_ok,
            reload_time=reload_time,
            open=self._web_config.loaded,
            complaint=complaint,
            complaint_time=max((file.complaint_time for file in files if file.complaint_time), default=None),
            identity=self._identity,
            restarts=self._link.shared.restarts if self._link else None,
        )

    def serve(self, web_addresses: Sequence[str], probe_addresses: Sequence[str], shutdown_delay: float) -> None:
        """Listen on these addresses, load the configuration, and run until SIGTERM and the end of the drain.

        A worker serves the sockets of its keeper instead. An invalid configuration is logged, and loaded once it is
        valid; until then, only liveness is true. Raises ListenError and, if strict, what makes the configuration
        unusable, before any check has run.
        """
        # Here, because the embedded form has no server of its own and must not import one.
        from exporter.server.dispatch import MAX_WAITING, THREADS, Dispatcher
        from exporter.server.listener import Listener
        from exporter.server.run import Run
        from exporter.server.threads import Threads

        self._descriptors = descriptors = raise_limit()
        if self._link:
            web, probe = [*map(adopt, self._link.web)], [*map(adopt, self._link.probe)]
        else:
            web, probe = [*map(listen, web_addresses)], [*map(listen, probe_addresses)]
        threads = Threads(THREADS, MAX_WAITING, "web")
        users = Users(lambda: self._web_config.users)
        dispatch = Dispatcher(
            self.store, self._probes, threads, self._call_app, users, self._condition, self._exposition
        )
        listeners = [Listener(probe, Dispatcher(self.store, self._probes, threads))] if probe else []
        self._note_start()
        if self._history_file:
            self._history_file.start()
        self.store.degrade()  # until a configuration is in use; before a signal or a changed file loads one
        self._reloader.start()  # before the checks take all threads that the system allows
        if self._web_poller:
            self._web_poller.start()
        self._load_at_start()
        workers = self.schedule.vitals().workers
        if not descriptors.suffice(workers):
            fields = {"limit": descriptors.usual, "needed": estimate_need(workers), "checks_at_once": workers}
            _log.warning("the limit of open files is too low for these checks", extra={"fields": fields})
        waiting = [] if self._web_config.loaded else [web]

        def tick() -> None:
            self._tick()
            if waiting and self._web_config.loaded:
                run.open_web(Listener(waiting[0], dispatch, self._web_config.context))
                waiting.clear()

        if not waiting:
            listeners.insert(0, Listener(web, dispatch, self._web_config.context))
        run = Run(listeners, self._reloader, tick, self.store.drain, shutdown_delay, self._link, self._describe_start)
        run.until_stopped()
        self._reloader.stop()
        self.schedule.stop()
        self.store.note(Event.STOPPED)
        if self._history_file:
            self._history_file.stop()

    def _tick(self) -> None:
        """Notice results that have become stale even if no request arrives, and report to the keeper."""
        reloads = self._reloader.served  # first, so that the rest is the outcome of these reloads, or newer
        checks = len(self.store.snapshot().states)
        if self._link:
            vitals = self.vitals()
            self._link.report(running=vitals.running, valid=vitals.reload_ok, checks=checks, reloads=reloads)

    def _note_rejection(self, errors: str) -> None:
        self.store.note(Event.REJECTED, "; ".join(errors.splitlines()))

    def _note_start(self) -> None:
        restarts = self._link.shared.restarts if self._link else 0
        again = f", worker restart {restarts}" if restarts else ""
        self.store.note(Event.STARTED, f"version {__version__} on {self._identity.host}{again}")

    def _describe_start(self) -> dict[str, object]:
        """Return which exporter this is, for the log lines of the listeners."""
        error = (self._reloader.complaint or "").partition("\n")[0]
        return {
            "host": self._identity.host,
            "file": self._identity.file,
            "checks": len(self.store.snapshot().states),
            "rejected": error or None,
        }

    def _condition(self) -> tuple[bool, float | None, str | None]:
        """Return whether all files are in use, when the configuration was loaded, and what is wrong with the files."""
        files = (self._reloader, self._web_config)
        complaint = "\n".join(filter(None, (file.complaint for file in files))) or None
        return all(file.ok for file in files), self._reloader.time, complaint

    def _load(self) -> int:
        return self._use(load(*self._config_files))

    def _use(self, config: Config) -> int:
        count = self.watch(config.checks)
        if self._link:
            texts = [(part.document.source, part.document.content) for part in config.parts]
            self._link.shared.configuration.write(marshal.dumps(texts))
        return count

    def _load_at_start(self) -> None:
        """Load the files or, if that is not possible, the configuration of the worker that this one follows."""
        kept = self._link.shared.configuration.read() if self._link else b""
        use_kept = partial(self._use_kept, kept) if kept else None
        self._reloader.load_first(use_kept, strict=self._strict)

    def _use_kept(self, content: bytes) -> None:
        texts = marshal.loads(content)  # noqa: S302  # of a process with the same interpreter and code
        self._use(parse([Text(*text) for text in texts]))


def _make_history_file(path: Path | None, size: int, store: Store, answers: AnswerLog) -> "HistoryFile | None":
    if path is None:
        return None
    from exporter.server.history_file import HistoryFile  # few exporters have a file

    return HistoryFile(path, size, store, answers)
