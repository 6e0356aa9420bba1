"""The HTTP endpoints as a Flask application: views of a few lines each, rendered from the current Snapshot.

No view runs a check, waits for one, or redirects. The kubelet counts some redirects as success, so a path either
matches exactly or is a 404.

Each view takes the Snapshot once and returns an Answer that carries its generation. The server answers probes itself,
without Flask (see `probes`). The views for probes are for applications that embed the exporter.
"""

import encodings.idna  # noqa: F401  # Werkzeug needs it for the first request, when no file may be left to open
import re
from collections.abc import Callable, Mapping
from functools import partial

from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException

from exporter.evaluation.answered import AnswerLog
from exporter.evaluation.store import Store
from exporter.model import Vitals
from exporter.server.answers import Answer, log_answer, refuse
from exporter.server.exposition import Exposition
from exporter.server.heartbeats import answer_heartbeat
from exporter.server.holding import answer_hold
from exporter.server.messages import HEARTBEATS
from exporter.server.pages import answer_check, answer_page
from exporter.server.past import answer_events
from exporter.server.probes import OWN_PATHS, PROBE_PATHS, Probes, prefers_json
from exporter.server.reload import KEEPING, WITHOUT, ReloadBusyError

RETRY_AFTER = 5  # seconds until a reload may be requested again

_ONE_SLASH = re.compile(r"/(?!/)")

Reload = Callable[[], str | None]
"""Loads the configuration again; returns the errors in it, or None. Raises ReloadBusyError."""


def create_app(
    store: Store,
    probes: Probes,
    exposition: Exposition,
    vitals: Callable[[], Vitals],
    answers: AnswerLog,
    next_runs: Callable[[], Mapping[str, float]] = dict,
    reload: Reload | None = None,
    *,
    holds: bool = False,
) -> Flask:
    """Create an application with every path.

    `next_runs` returns in how many seconds each check is due. `reload` is None if /-/reload is off. `holds` turns
    /-/hold on.
    """
    app = Flask("exporter", static_folder=None)
    app.url_map.merge_slashes = False  # otherwise //livez is a redirect
    app.register_error_handler(HTTPException, partial(_answer_error, store))
    app.before_request(_refuse_leading_slashes)
    for path in PROBE_PATHS:
        _route(app, path, partial(_answer_probe, probes))
        _route(app, f"{path}/<name>", partial(_answer_probe, probes))
    for path in OWN_PATHS:
        _route(app, path, partial(_answer_probe, probes))
    _route(app, "/metrics", partial(_answer_metrics, exposition))
    _route(app, "/", partial(answer_page, store, vitals, next_runs))
    _route(app, "/check/<name>", partial(answer_check, store, vitals, next_runs, answers))
    _route(app, "/events", partial(answer_events, store, answers, vitals))
    _route(app, f"{HEARTBEATS}<name>", partial(answer_heartbeat, store), methods=("POST",))
    _route(app, "/-/reload", partial(_answer_reload, store, reload), methods=("POST", "PUT"))
    _route(app, "/-/hold", partial(answer_hold, store, enabled=holds), methods=("POST",))
    return app


def _route(app: Flask, path: str, view: Callable[..., Answer], methods: tuple[str, ...] = ("GET",)) -> None:
    def respond(**_variables: str) -> Response:
        return _to_response(view())

    app.add_url_rule(path, path, respond, methods=methods, provide_automatic_options=False)


def _to_response(answer: Answer) -> Response:
    log_answer(request.method, request.path, answer, request.remote_addr)
    return Response(answer.body, answer.status, answer.list_headers())


def _refuse_leading_slashes() -> None:
    """Respond with 404, because Werkzeug treats two leading slashes as one, and redirects a path without any."""
    if not _ONE_SLASH.match(request.environ["PATH_INFO"]):
        abort(404)


def _answer_probe(probes: Probes) -> Answer:
    query, path = request.query_string.decode("latin-1"), request.path
    json = prefers_json(path, query, request.headers.get("Accept", ""))
    return probes.answer(request.method, path, query, json=json, detailed=True) or abort(404)


def _answer_metrics(exposition: Exposition) -> Answer:
    query, headers = request.query_string.decode("latin-1"), request.headers
    return exposition.answer(query, headers.get("Accept", ""), headers.get("Accept-Encoding", ""))


def _answer_reload(store: Store, reload: Reload | None) -> Answer:
    if reload is None:
        text = "Reloading by HTTP is off; --web.enable-lifecycle turns it on.\n"
        return Answer(403, text.encode(), store.snapshot().generation)
    try:
        complaint = reload()
    except ReloadBusyError as error:
        headers = (("Retry-After", str(RETRY_AFTER)),)
        text = f"{error}; try again later\n"
        return Answer(503, text.encode(), store.snapshot().generation, headers=headers, because=(str(error),))
    if complaint is None:
        return Answer(200, b"", store.snapshot().generation)
    snapshot = store.snapshot()
    consequence = WITHOUT if snapshot.degraded else KEEPING
    text = f"failed to reload the configuration; {consequence}:\n{complaint}\n"
    return Answer(500, text.encode(), snapshot.generation)


def _answer_error(store: Store, error: HTTPException) -> Response:
    methods = getattr(error, "valid_methods", None)
    headers = [("Allow", ", ".join(sorted(methods)))] if methods else []
    return _to_response(refuse(store.snapshot(), error.code or 500, *headers))
