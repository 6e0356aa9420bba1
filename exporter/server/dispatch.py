"""Decides what happens to a request: an answer from memory, a place in the queue, or a refusal.

Theory of operation:

Probes are answered on the event loop, from memory. Everything else is rendered by a few threads with a bounded queue.
If the queue is full, the client gets 503 with Retry-After at once. A request whose client is gone leaves the queue.

The exposition and the pages are rendered once per generation and second, whoever asks: equal requests share one
job, and its response serves those that come later in the same second. A status page that has not changed since the
client got it is not rendered at all: its entity tag is the generation, with what else the page depends on.

With basic authentication, the password comes first, whatever the path; only a heartbeat has a token instead. Known
credentials are recognized on the event loop. Unknown ones wait for bcrypt in a queue of their own (see `users`).
"""

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from exporter.evaluation.store import Store
from exporter.server.answers import Answer, log_answer, log_failure, refuse
from exporter.server.connection import Connection, Phase
from exporter.server.exposition import Exposition
from exporter.server.messages import HEARTBEATS, Request, Response
from exporter.server.probes import Probes, prefers_json
from exporter.server.recent import Key, Recent, make_key
from exporter.server.threads import Job, Threads
from exporter.server.users import CHALLENGE, Users
from exporter.server.wsgi import WSGI, call

THREADS = 2
"""Threads that render metrics and pages, and that reload."""
MAX_WAITING = 40
"""Requests that wait for a thread."""

TAG = "ETag"
_CHALLENGE = ("WWW-Authenticate", CHALLENGE)
_RETRY = ("Retry-After", "1")


@dataclass(slots=True, eq=False)
class _Pending:
    """A job and the connections that wait for it."""

    job: Job
    key: Key | None = None
    connections: dict[Connection, None] = field(default_factory=dict)


class Dispatcher:
    """Answers the requests of a listener. Without an application, there are only the probes."""

    def __init__(
        self,
        store: Store,
        probes: Probes,
        threads: Threads,
        app: WSGI | None = None,
        users: Users | None = None,
        condition: Callable[[], object] = lambda: None,
        exposition: Exposition | None = None,
    ) -> None:
        """`condition` returns what a rendered response depends on, apart from the generation.

        With an `exposition`, scrapes do not need the application.
        """
        self._store = store
        self._probes = probes
        self._app = app
        self._detailed = app is not None  # whoever may read the page may also read the messages on it elsewhere
        self._users = users
        self._threads = threads
        self._condition = condition
        self._exposition = exposition
        self._instance = f"{time.time_ns():x}"  # the generations of the next process may be the same
        self._pending: dict[Connection, _Pending] = {}
        self._shared: dict[Key, _Pending] = {}
        self._recent = Recent()

    def receive(self, connection: Connection, request: Request) -> None:
        """Respond to a request, now or later."""
        self._attempt(connection, request, partial(self._authenticate, connection, request))

    def _attempt(self, connection: Connection, request: Request, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception:  # noqa: BLE001  # a defect costs one response, and no client waits forever
            log_failure(request.method, request.path)
            connection.respond(self.refuse(500).to_response())

    def _authenticate(self, connection: Connection, request: Request) -> None:
        if self._users is None or _is_heartbeat(request):
            self._dispatch(connection, request)
            return
        header = request.header(b"authorization").encode("latin-1")
        right = self._users.check(header or None)
        if right is not None:
            self._admit(connection, request, right)
            return
        self._users.verify(
            header,
            request.peer,
            lambda right: connection.call_soon(
                partial(self._attempt, connection, request, partial(self._admit, connection, request, right))
            ),
            lambda: connection.phase is Phase.CLOSED,
        )

    def has_begun(self, connection: Connection) -> bool:
        """Return whether the response to a request is being made."""
        pending = self._pending.get(connection)
        return pending is not None and pending.job.has_begun

    def forget(self, connection: Connection) -> None:
        """Forget the request of a connection that is closed. Its job is canceled if nobody else waits for it."""
        pending = self._pending.pop(connection, None)
        if pending is None:
            return
        del pending.connections[connection]
        if not pending.connections and not pending.job.has_begun:
            self._threads.cancel(pending.job)
            self._unshare(pending)

    def refuse(self, status: int, *headers: tuple[str, str], because: str = "") -> Answer:
        """Return the answer for a request that is not served."""
        return refuse(self._store.snapshot(), status, *headers, because=[because] if because else [])

    def _admit(self, connection: Connection, request: Request, right: bool | None) -> None:  # noqa: FBT001
        if right:
            self._dispatch(connection, request)
        elif right is None:
            refusal = self.refuse(503, _RETRY, because="too many passwords wait for bcrypt, or it could not run")
            self._answer(connection, request, refusal)
        else:
            because = "wrong credentials" if request.header(b"authorization") else "no credentials"
            self._answer(connection, request, self.refuse(401, _CHALLENGE, because=because))

    def _dispatch(self, connection: Connection, request: Request) -> None:
        if prefers_json(request.path, request.query, request.header(b"accept")):
            if not self._submit(connection, request, partial(self._answer_json, request)):
                self._answer_probe(connection, request)
        elif not self._answer_probe(connection, request):
            if self._app is None:
                self._answer(connection, request, self.refuse(404))
            elif not self._render(connection, request, self._app):
                self._answer(connection, request, self.refuse(503, _RETRY, because="too many requests"))

    def _answer_probe(self, connection: Connection, request: Request) -> bool:
        answer = self._probes.answer(
            request.method, request.path, request.query, detailed=self._detailed, kubelet=_is_kubelet(request)
        )
        if answer is None:
            return False
        self._answer(connection, request, answer)
        return True

    def _answer(self, connection: Connection, request: Request, answer: Answer) -> None:
        log_answer(request.method, request.path, answer, request.peer)
        connection.respond(answer.to_response())

    def _answer_json(self, request: Request) -> Response:
        answer = self._probes.answer(
            request.method,
            request.path,
            request.query,
            json=True,
            detailed=self._detailed,
            kubelet=_is_kubelet(request),
        )
        assert answer is not None  # `prefers_json` is true only for a probe's path
        log_answer(request.method, request.path, answer)
        return answer.to_response()

    def _render(self, connection: Connection, request: Request, app: WSGI) -> bool:
        """Respond with what the application renders. Return False if too many requests wait for that."""
        key = make_key(request)
        if key is None:
            return self._submit(connection, request, partial(call, app, request))
        tag = self._make_tag(request.path)
        if tag and request.header(b"if-none-match") == tag:
            connection.respond(Answer(304, b"", self._store.snapshot().generation, headers=((TAG, tag),)).to_response())
            return True
        now = connection.now()
        if (response := self._recent.recall(key, self._version(now), now)) is not None:
            connection.respond(response)
            return True
        pending = self._shared.get(key)
        if pending is not None and not pending.job.has_begun:  # one that has begun may show an earlier generation
            self._pending[connection] = pending
            pending.connections[connection] = None
            return True
        scrape = request.path == "/metrics" and self._exposition  # and GET or HEAD, because it has a key
        make = partial(self._answer_scrape, scrape, request) if scrape else partial(call, app, request)
        return self._submit(connection, request, make, key)

    def _answer_scrape(self, exposition: Exposition, request: Request) -> Response:
        answer = exposition.answer(request.query, request.header(b"accept"), request.header(b"accept-encoding"))
        log_answer(request.method, request.path, answer, request.peer)
        return answer.to_response()

    def _make_tag(self, path: str) -> str:
        """Return the entity tag of the status page now; empty for another path. It is weak, because ages change."""
        if path != "/":
            return ""
        condition = zlib.crc32(repr(self._condition()).encode())
        return f'W/"{self._instance}-{self._store.snapshot().generation}-{condition:x}"'

    def _version(self, now: float) -> object:
        return self._store.snapshot().generation, int(now), self._condition()

    def _submit(
        self, connection: Connection, request: Request, make: Callable[[], Response], key: Key | None = None
    ) -> bool:
        """Make a response in a thread. Return False if too many wait for that."""

        def work() -> None:
            # What is rendered may be newer than both of them.
            now, began = connection.now(), time.thread_time()
            version, tag = self._version(now), self._make_tag(request.path)
            keep = None
            try:
                response = self._recent.recall(key, version, now)
                if response is None:
                    response = _add_tag(make(), tag)
                    cost = time.thread_time() - began
                    if key and response.status == 200:
                        keep = partial(self._recent.keep, key, version, connection.now(), cost, response)
            except Exception:  # noqa: BLE001  # whatever happens, the client gets a response
                log_failure(request.method, request.path)
                response = self.refuse(500).to_response()
            connection.call_soon(partial(self._deliver, pending, response, keep))

        pending = _Pending(Job(work), key)
        if not self._threads.submit(pending.job):
            return False
        self._pending[connection] = pending
        pending.connections[connection] = None
        if key is not None:
            self._shared[key] = pending
        return True

    def _deliver(self, pending: _Pending, response: Response, keep: Callable[[], None] | None) -> None:
        self._unshare(pending)
        if keep:
            keep()
        for connection in tuple(pending.connections):
            self._pending.pop(connection, None)
            connection.respond(response)

    def _unshare(self, pending: _Pending) -> None:
        if pending.key is not None and self._shared.get(pending.key) is pending:
            del self._shared[pending.key]


def _add_tag(response: Response, tag: str) -> Response:
    return replace(response, headers=[*response.headers, (TAG, tag)]) if tag and response.status == 200 else response


def _is_heartbeat(request: Request) -> bool:
    """Return whether the request has a token in place of a user. The application compares it."""
    folder, slash, name = request.path.rpartition("/")
    return request.method == "POST" and folder + slash == HEARTBEATS and name != ""


def _is_kubelet(request: Request) -> bool:
    return request.header(b"user-agent").startswith("kube-probe/")
