"""The HTTP endpoints: Flask routes of a few lines each, rendered from the current Snapshot.

No route runs a check, waits for one, or redirects. The kubelet counts some redirects as success, so a path either
matches exactly or is a 404.

Each view takes the Snapshot once and returns an Answer that carries it. What every response has in common, including
errors that no view handles, is added in `_finish`.
"""

import gzip
import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException

from exporter.evaluation.judge import judge, satisfies
from exporter.evaluation.store import Store
from exporter.model import Group, State, Vitals
from exporter.render import health, metrics, page
from exporter.server.answers import PLAIN, Answer, AnswerCounter
from exporter.server.negotiation import HEALTH_JSON, choose_format, wants_json
from exporter.server.users import CHALLENGE, Users

PROBE_PATHS = {
    "/livez": Group.LIVENESS,
    "/readyz": Group.READINESS,
    "/startupz": Group.STARTUP,
    "/healthz": Group.ALL,
}

MAX_LOGGED_PATH = 200  # characters

_ONE_SLASH = re.compile(r"/(?!/)")

_log = logging.getLogger(__name__)

Reload = Callable[[], str | None]
"""Loads the configuration again; returns the errors in it, or None."""


def create_probe_app(store: Store, counter: AnswerCounter) -> Flask:
    """Create an application with the probe paths only, for an additional plain listener."""
    app = Flask("exporter", static_folder=None)
    app.url_map.merge_slashes = False  # otherwise //livez is a redirect
    app.register_error_handler(HTTPException, _answer_error)
    app.before_request(_refuse_leading_slashes)
    app.after_request(partial(_finish, store))
    for path, group in PROBE_PATHS.items():
        _route(app, path, partial(_answer_group, store, counter, path, group))
        _route(app, f"{path}/<name>", partial(_answer_check, store, group))
    return app


def create_app(
    store: Store,
    counter: AnswerCounter,
    vitals: Callable[[], Vitals],
    reload: Reload | None = None,
    users: Users | None = None,
) -> Flask:
    """Create an application with every path.

    `reload` is None if /-/reload is off. `users` guard all paths.
    """
    app = create_probe_app(store, counter)
    if users is not None:
        app.before_request(partial(_refuse_strangers, users))
    _route(app, "/metrics", partial(_answer_metrics, store, counter, vitals))
    _route(app, "/", partial(_answer_page, store))
    _route(app, "/-/healthy", partial(_answer_healthy, store, vitals))
    _route(app, "/-/ready", partial(_answer_ready, store))
    _route(app, "/-/reload", partial(_answer_reload, store, reload), methods=("POST", "PUT"))
    return app


def _route(app: Flask, path: str, view: Callable[..., Response], methods: tuple[str, ...] = ("GET",)) -> None:
    app.add_url_rule(path, path, view, methods=methods, provide_automatic_options=False)


def _refuse_leading_slashes() -> None:
    """Respond with 404, because Werkzeug treats two leading slashes as one, and redirects a path without any."""
    if not _ONE_SLASH.match(request.environ["PATH_INFO"]):
        abort(404)


def _refuse_strangers(users: Users) -> Response | None:
    header = request.headers.get("Authorization", "").encode("latin-1")
    right = users.check(header)
    if right is None:
        result: Future[bool | None] = Future()
        users.verify(header, request.remote_addr or "", result.set_result)
        right = result.result()
    if right:
        return None
    if right is None:
        return Response("Service Unavailable\n", 503, {"Retry-After": "1"}, content_type=PLAIN)
    return Response("Unauthorized\n", 401, {"WWW-Authenticate": CHALLENGE}, content_type=PLAIN)


def _answer_group(store: Store, counter: AnswerCounter, path: str, group: Group) -> Answer:
    snapshot = store.snapshot()
    exclude = request.args.getlist("exclude")
    verdict = judge(snapshot, group, exclude)
    code = 200 if verdict.up else 503
    counter.count(group, code)
    because = [*_list_reasons(verdict.culprits), *(["shutting down"] if verdict.draining else [])]
    form = request.args.get("format")
    if form == "json" or (form is None and wants_json(request.headers.get("Accept", ""))):
        return Answer(snapshot, health.render_json(snapshot, verdict), code, content_type=HEALTH_JSON, because=because)
    body = health.render_text(verdict, path.removeprefix("/"), verbose="verbose" in request.args, exclude=exclude)
    return Answer(snapshot, body, code, because=because)


def _answer_check(store: Store, group: Group, name: str) -> Answer:
    snapshot = store.snapshot()
    state = snapshot.states.get(name)
    if state is None or not state.spec.belongs_to(group):
        abort(404)
    failing = () if satisfies(state, group) else (state,)
    return Answer(snapshot, health.render_check(state, group), 503 if failing else 200, because=_list_reasons(failing))


def _list_reasons(states: tuple[State, ...]) -> list[str]:
    return [f"{state.spec.name} ({state.reason})" for state in states]


def _answer_metrics(store: Store, counter: AnswerCounter, vitals: Callable[[], Vitals]) -> Answer:
    snapshot = store.snapshot()
    content_type = choose_format(request.headers.get("Accept", ""))
    names = request.args.getlist("name[]")
    body = metrics.render(snapshot, vitals(), counter.counts(), content_type=content_type, names=names)
    headers = {"Vary": "Accept, Accept-Encoding"}
    if request.accept_encodings["gzip"] > 0:
        body = gzip.compress(body, 1)
        headers["Content-Encoding"] = "gzip"
    return Answer(snapshot, body, content_type=content_type, headers=headers)


def _answer_page(store: Store) -> Answer:
    snapshot = store.snapshot()
    body = page.render(
        snapshot, PROBE_PATHS, time.time(), root=request.script_root, refresh="still" not in request.args
    )
    headers = {"Content-Security-Policy": page.CONTENT_SECURITY_POLICY}
    return Answer(snapshot, body, content_type="text/html; charset=utf-8", headers=headers)


def _answer_healthy(store: Store, vitals: Callable[[], Vitals]) -> Answer:
    snapshot = store.snapshot()
    if vitals().running:
        return Answer(snapshot, "Health Exporter is healthy.\n")
    return Answer(snapshot, "Health Exporter is not healthy.\n", 503, because=["the schedule is not running"])


def _answer_ready(store: Store) -> Answer:
    snapshot = store.snapshot()
    if snapshot.draining:
        return Answer(snapshot, "Health Exporter is not ready.\n", 503, because=["shutting down"])
    return Answer(snapshot, "Health Exporter is ready.\n")


def _answer_reload(store: Store, reload: Reload | None) -> Answer:
    if reload is None:
        text = "Reloading by HTTP is off; --web.enable-lifecycle turns it on.\n"
        return Answer(store.snapshot(), text, 403)
    complaint = reload()
    if complaint is None:
        return Answer(store.snapshot(), "")
    text = f"failed to reload the configuration; keeping the previous one:\n{complaint}\n"
    return Answer(store.snapshot(), text, 500)


def _answer_error(error: HTTPException) -> Response:
    response = Response(f"{error.code} {error.name}\n", error.code, content_type=PLAIN)
    methods = getattr(error, "valid_methods", None)
    if methods:
        response.headers["Allow"] = ", ".join(sorted(methods))
    return response


def _finish(store: Store, response: Response) -> Response:
    """Add the headers that every response has, and log one line if the status is not 200."""
    if "Health-Generation" not in response.headers:  # an error that no view has answered
        response.headers["Health-Generation"] = str(store.snapshot().generation)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if response.status_code != 200:
        fields = {
            "method": request.method,
            "path": request.path[:MAX_LOGGED_PATH],
            "because": ", ".join(getattr(response, "because", ())) or None,
            "generation": response.headers["Health-Generation"],
        }
        level = logging.WARNING if response.status_code >= 500 else logging.INFO
        _log.log(level, "answered %d", response.status_code, extra={"fields": fields})
    return response
