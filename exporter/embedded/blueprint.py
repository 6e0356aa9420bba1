"""A WSGI application as a Flask blueprint, out of reach of what the host application does to its own requests.

A hook that asks the database for the user would make the probes' answers depend on the database, and one that redirects
to a login would make the kubelet take every answer for a success. So the blueprint's routes are the application's,
for its map and its precedence, and their requests are answered before the application sees them.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from flask import Blueprint, Flask, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

__all__ = ["Blueprint", "Flask", "blueprint", "precede"]

WSGI = Callable[..., Iterable[bytes]]


def blueprint(name: str, wsgi: WSGI, paths: Iterable[str]) -> Blueprint:
    """Routes for GET to these paths of the WSGI application, each of which has at most one variable, `name`."""
    paths = tuple(paths)
    made = Blueprint(name, __name__)

    def view(**variables: str) -> ResponseReturnValue:
        """For requests that reach the application all the same: its routes depend on the host, or the prefix varies."""
        _, _, path = str(request.endpoint).rpartition(".")
        below = path.replace("<name>", variables.get("name", "")).encode().decode("latin-1")
        return lambda environ, start: wsgi(_moved(environ, below), start)

    for path in paths:
        made.add_url_rule(path, path, view, methods=("GET",), provide_automatic_options=False)
    made.record(lambda state: _shortcut(state.app, state.url_prefix or "", paths, view, wsgi))
    return made


def precede(app: Flask, act: Callable[[], None]) -> None:
    """Act before each request of the application."""
    inner: WSGI = app.wsgi_app

    def preceded(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        act()
        return inner(environ, start)

    app.wsgi_app = preceded  # type: ignore[method-assign, assignment]


def _shortcut(app: Any, prefix: str, paths: Iterable[str], view: Callable[..., Any], wsgi: WSGI) -> None:
    """Answer what the application's own map gives to the view, without the application."""
    inner: WSGI = app.wsgi_app
    prefix, routes = prefix.rstrip("/"), app.url_map.bind("localhost")
    # Only what can be ours is looked up: a converter of the application's own routes may be slow.
    ours = re.compile("|".join(re.escape(prefix + path).replace("<name>", "[^/]+") for path in paths))

    def answered(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if ours.fullmatch(path) and _given(app, routes, path, environ["REQUEST_METHOD"]) is view:
            return wsgi(_moved(environ, path.removeprefix(prefix)), start)
        return inner(environ, start)

    app.wsgi_app = answered


def _given(app: Flask, routes: Any, path: str, method: str) -> Callable[..., Any] | None:
    try:
        endpoint, _ = routes.match(path.encode("latin-1").decode("utf-8", "replace"), method)
    except HTTPException:
        return None
    return app.view_functions.get(endpoint)


def _moved(environ: dict[str, Any], path: str) -> dict[str, Any]:
    """The same request to the WSGI application below."""
    whole = environ.get("PATH_INFO", "")
    return {**environ, "SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + whole.removesuffix(path), "PATH_INFO": path}
