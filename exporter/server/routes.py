"""The HTTP surface: Flask routes of a few lines each over the current Snapshot.

No route runs a check, waits for one, or redirects. The kubelet takes some redirects for success, so every path matches
exactly or is a 404.
"""

import gzip
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from flask import Flask, Response, abort, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_accept_header, parse_options_header

from exporter.evaluation.judge import judge, satisfies
from exporter.evaluation.store import Store
from exporter.model import Group, Snapshot, Vitals
from exporter.render import health, metrics, page

PATHS = {
    "/livez": Group.LIVENESS,
    "/readyz": Group.READINESS,
    "/startupz": Group.STARTUP,
    "/healthz": Group.ALL,
}
HEALTH_JSON = "application/health+json"
_PLAIN = "text/plain; charset=utf-8"
_ONE_SLASH = re.compile(r"/(?!/)")
_REFUSED = (0.0, 3)  # q=0, however closely it was named
_ACCEPT_LIMIT = 4096  # characters; a longer header is nobody's preference

_log = logging.getLogger(__name__)

Reload = Callable[[], str | None]
"""Reads the configuration anew; returns what is wrong with it, or None."""
Authorize = Callable[[str, str], bool]
"""Whether this user has this password."""


class Answers:
    """The verdicts really given, counted by group and status code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given: Counter[tuple[str, int]] = Counter()

    def count(self, group: Group, code: int) -> None:
        """Note one answer."""
        with self._lock:
            self._given[group, code] += 1

    def given(self) -> dict[tuple[str, int], int]:
        """All answers so far."""
        with self._lock:
            return dict(self._given)


def probe_app(store: Store, answers: Answers) -> Flask:
    """The probe paths only, for a plain listener of their own."""
    app = Flask("exporter", static_folder=None)
    app.url_map.merge_slashes = False  # else //livez is a redirect
    app.register_error_handler(HTTPException, _error)

    @app.before_request
    def _now() -> None:
        g.snapshot = store.snapshot()
        if not _ONE_SLASH.match(request.environ["PATH_INFO"]):  # Werkzeug takes two for one, and redirects for none
            abort(404)

    @app.after_request
    def _sign(response: Response) -> Response:
        snapshot: Snapshot = g.snapshot
        response.headers["Health-Generation"] = str(snapshot.generation)
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        if response.status_code != 200:
            _tell(response, snapshot)
        return response

    for path, group in PATHS.items():
        _route(app, path, lambda path=path, group=group: _group(path, group, answers))
        _route(app, f"{path}/<name>", lambda name, group=group: _check(name, group))
    return app


def create_app(
    store: Store,
    answers: Answers,
    vitals: Callable[[], Vitals],
    reload: Reload | None = None,
    authorize: Authorize | None = None,
) -> Flask:
    """Every path. `reload` is None while /-/reload is off; `authorize` guards all of them."""
    app = probe_app(store, answers)

    if authorize is not None:

        @app.before_request
        def _guard() -> Response | None:
            given = request.authorization
            if given and given.type == "basic" and authorize(given.username or "", given.password or ""):
                return None
            return Response(
                "Unauthorized\n", 401, {"WWW-Authenticate": 'Basic realm="health-exporter"'}, content_type=_PLAIN
            )

    _route(app, "/metrics", lambda: _metrics(vitals(), answers))
    _route(app, "/", _page)
    _route(app, "/-/healthy", lambda: _own("healthy", well=vitals().running))
    _route(app, "/-/ready", lambda: _own("ready", well=not g.snapshot.draining))
    _route(app, "/-/reload", lambda: _reload(reload), methods=("POST", "PUT"))
    return app


def metrics_type(accept: str) -> str:
    """The exposition format for an Accept header, by RFC 9110: the most specific range decides, `q=0` excludes.

    Only what is really produced is offered, whatever version is asked for; with nothing acceptable it is the text
    format all the same, because a scrape that is refused tells nothing.
    """
    ranges = _ranges(accept)
    quality = _quality(ranges, "application/openmetrics-text", "1.0.0")
    return metrics.OPEN_METRICS if quality > max(_quality(ranges, "text/plain", "0.0.4"), _REFUSED) else metrics.TEXT


def wants_json(accept: str) -> bool:
    """Whether an Accept header prefers the health+json document to plain text, which is the default."""
    ranges = _ranges(accept)
    quality = max(_quality(ranges, HEALTH_JSON), _quality(ranges, "application/json"))
    return quality > max(_quality(ranges, "text/plain"), _REFUSED)


def _ranges(accept: str) -> list[tuple[str, Mapping[str, str], float]]:
    if len(accept) > _ACCEPT_LIMIT:
        return []
    parsed = ((*parse_options_header(value), quality) for value, quality in parse_accept_header(accept))
    return [(media.lower(), options, quality) for media, options, quality in parsed]


def _quality(
    ranges: list[tuple[str, Mapping[str, str], float]], name: str, version: str | None = None
) -> tuple[float, int]:
    """How welcome a media type is, and how closely the range that says so names it; the closest range decides."""
    matching = []
    for media, options, quality in ranges:
        wanted = options.get("version")
        if media == name and (version is None or wanted in (None, version)):
            matching.append((3 if wanted else 2, quality))
        elif media in ("*/*", f"{name.partition('/')[0]}/*"):
            matching.append((media != "*/*", quality))
    specificity, quality = max(matching, default=(0, 0.0))
    return quality, int(specificity)


def _route(app: Flask, path: str, view: Callable[..., Response], methods: tuple[str, ...] = ("GET",)) -> None:
    app.add_url_rule(path, path, view, methods=methods, provide_automatic_options=False)


def _group(path: str, group: Group, answers: Answers) -> Response:
    snapshot: Snapshot = g.snapshot
    exclude = request.args.getlist("exclude")
    verdict = judge(snapshot, group, exclude)
    code = 200 if verdict.up else 503
    answers.count(group, code)
    g.culprits = verdict.culprits
    form = request.args.get("format")
    if form == "json" or (form is None and wants_json(request.headers.get("Accept", ""))):
        return Response(health.as_json(snapshot, verdict), code, content_type=HEALTH_JSON)
    body = health.line(verdict, path.removeprefix("/"), verbose="verbose" in request.args, exclude=exclude)
    return Response(body, code, content_type=_PLAIN)


def _check(name: str, group: Group) -> Response:
    state = g.snapshot.states.get(name)
    if state is None or not state.spec.belongs_to(group):
        abort(404)
    g.culprits = () if satisfies(state, group) else (state,)
    return Response(health.single(state, group), 503 if g.culprits else 200, content_type=_PLAIN)


def _metrics(vitals: Vitals, answers: Answers) -> Response:
    content_type = metrics_type(request.headers.get("Accept", ""))
    names = request.args.getlist("name[]")
    body = metrics.exposition(g.snapshot, vitals, answers.given(), content_type=content_type, names=names)
    headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
    if request.accept_encodings["gzip"] > 0:
        body = gzip.compress(body, 1)
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers)


def _page() -> Response:
    body = page.page(g.snapshot, PATHS, time.time(), root=request.script_root, renew="still" not in request.args)
    return Response(
        body, headers={"Content-Security-Policy": page.CONTENT_SECURITY_POLICY}, content_type="text/html; charset=utf-8"
    )


def _own(word: str, *, well: bool) -> Response:
    return Response(f"Health Exporter is {'' if well else 'not '}{word}.\n", 200 if well else 503, content_type=_PLAIN)


def _reload(reload: Reload | None) -> Response:
    if reload is None:
        return Response("Reloading by HTTP is off; --web.enable-lifecycle turns it on.\n", 403, content_type=_PLAIN)
    wrong = reload()
    if wrong is None:
        return Response("", 200, content_type=_PLAIN)
    return Response(f"failed to reload the configuration, the old one goes on:\n{wrong}\n", 500, content_type=_PLAIN)


def _error(error: HTTPException) -> Response:
    response = Response(f"{error.code} {error.name}\n", error.code, content_type=_PLAIN)
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _tell(response: Response, snapshot: Snapshot) -> None:
    """One log line per answer that is not 200, with the checks and reasons that made it so."""
    why = [f"{state.spec.name} ({state.reason})" for state in g.get("culprits", ())]
    if snapshot.draining:
        why.append("shutting down")
    _log.log(
        logging.WARNING if response.status_code >= 500 else logging.INFO,
        "answered %d",
        response.status_code,
        extra={
            "fields": {
                "method": request.method,
                "path": request.path[:200],
                "because": ", ".join(why) or None,
                "generation": snapshot.generation,
            }
        },
    )
