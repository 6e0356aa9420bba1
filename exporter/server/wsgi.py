"""Calls a WSGI application (PEP 3333) for one request."""

import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

from exporter.server.messages import Request, Response

WSGI = Callable[..., Iterable[bytes]]


def call(app: WSGI, request: Request) -> Response:
    """Return the application's response to a request, whose body it does not get."""
    start: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Callable[[bytes], Any]:
        start[:] = int(status.partition(" ")[0]), headers
        return lambda _: None

    chunks = app(_make_environ(request), start_response)
    try:
        body = b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    status, headers = start
    return Response(status, headers, body)


def _make_environ(request: Request) -> dict[str, Any]:
    """Return the WSGI environment of a request, with the headers that an answer depends on."""
    return {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path.encode().decode("latin-1"),
        "QUERY_STRING": request.query,
        "HTTP_ACCEPT": request.header(b"accept"),
        "HTTP_ACCEPT_ENCODING": request.header(b"accept-encoding"),
        "HTTP_AUTHORIZATION": request.header(b"authorization"),
        "HTTP_ORIGIN": request.header(b"origin"),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": request.peer,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
