"""A WSGI application as a Flask blueprint, out of reach of the host application's hooks.

A hook that loads the user from the database would make probes depend on the database, and one that redirects to a login
page would make the kubelet count every response as success. So the blueprint registers its routes with the application,
whose URL map decides which route wins, but requests for them are intercepted before the application handles them.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from flask import Blueprint, Flask, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from exporter.server.wsgi import WSGI


def make_blueprint(name: str, wsgi: WSGI, paths: Iterable[str]) -> Blueprint:
    """Make a blueprint with GET routes to these paths of a WSGI application. A path may have one variable, `name`."""
    paths = tuple(paths)
    result = Blueprint(name, __name__)

    def view(**variables: str) -> ResponseReturnValue:
        """Handle requests that do reach the application, as with routes per host or a variable in the prefix."""
        _, _, path = str(request.endpoint).rpartition(".")
        below = path.replace("<name>", variables.get("name", "")).encode().decode("latin-1")
        return lambda environ, start: wsgi(_mount(environ, below), start)

    for path in paths:
        result.add_url_rule(path, path, view, methods=("GET",), provide_automatic_options=False)
    result.record(lambda state: _install_shortcut(state.app, state.url_prefix or "", paths, view, wsgi))
    return result


def call_before_requests(app: Flask, function: Callable[[], None]) -> None:
    """Call a function before each request of the application."""
    inner: WSGI = app.wsgi_app

    def wrapper(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        function()
        return inner(environ, start)

    app.wsgi_app = wrapper  # type: ignore[method-assign, assignment]


def _install_shortcut(app: Any, prefix: str, paths: Iterable[str], view: Callable[..., Any], wsgi: WSGI) -> None:
    """Handle the requests that the application's URL map routes to the view, without the application."""
    inner: WSGI = app.wsgi_app
    prefix, routes = prefix.rstrip("/"), app.url_map.bind("localhost")
    # Look up only paths that can be ours: converters of the application's own routes may be slow.
    ours = re.compile("|".join(re.escape(prefix + path).replace("<name>", "[^/]+") for path in paths))

    def wrapper(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if ours.fullmatch(path) and _find_view(app, routes, path, environ["REQUEST_METHOD"]) is view:
            return wsgi(_mount(environ, path.removeprefix(prefix)), start)
        return inner(environ, start)

    app.wsgi_app = wrapper


def _find_view(app: Flask, routes: Any, path: str, method: str) -> Callable[..., Any] | None:
    try:
        endpoint, _ = routes.match(path.encode("latin-1").decode("utf-8", "replace"), method)
    except HTTPException:
        return None
    return app.view_functions.get(endpoint)


def _mount(environ: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the request with everything before `path` moved to SCRIPT_NAME, as for a mounted WSGI application."""
    whole = environ.get("PATH_INFO", "")
    return {**environ, "SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + whole.removesuffix(path), "PATH_INFO": path}
