"""Runs a WSGI application (PEP 3333) on an ASGI server.

Hypercorn's own WSGI adapter keeps a thread busy while a slow client reads its answer, and responds with 500 if the body
is empty (HEAD).
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from typing import Any

CHUNK = 64 * 1024  # bytes of an answer that are buffered for one client

WSGI = Callable[..., Iterable[bytes]]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def to_asgi(app: WSGI, quick: tuple[str, ...], threads: ThreadPoolExecutor) -> Callable[..., Awaitable[None]]:
    """Wrap a WSGI application. Paths below `quick` are answered on the event loop itself, others in a thread."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        if scope["type"] != "http":
            return
        gone = asyncio.create_task(_discard(receive))
        call = partial(_call, app, _make_environ(scope))
        loop = asyncio.get_running_loop()
        answer = call() if _is_quick(scope, quick) else await loop.run_in_executor(threads, call)
        await _send(answer, send, gone)
        gone.cancel()

    return application


def _is_quick(scope: Scope, quick: tuple[str, ...]) -> bool:
    """Requests with a password are not quick: bcrypt is slow on purpose, and the event loop must not wait for it."""
    path: str = scope["path"]
    return path.startswith(quick) and all(name != b"authorization" for name, _ in scope["headers"])


_Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status code, headers and body."""


async def _send(answer: _Answer, send: Send, gone: asyncio.Task[None]) -> None:
    """Send the answer in parts, each of which the client must read in time. Once the client is gone, send the rest.

    Hypercorn ends a connection only after it has the whole answer, and keeps each part that it cannot send. It also
    keeps a connection that the client closed after its answer for the keep-alive time of 5 s. So every answer closes
    its connection: probes and scrapes are seconds apart and use a new connection anyway.
    """
    status, headers, body = answer
    start = {"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]}
    await send(start)
    position = 0
    while True:
        part = body[position:] if gone.done() else body[position : position + CHUNK]
        position += len(part)
        await send({"type": "http.response.body", "body": part, "more_body": position < len(body)})
        if position == len(body):
            return
        await asyncio.sleep(0)  # sending does not wait, so without this `gone` would never be updated


async def _discard(receive: Receive) -> None:
    """Read and discard a request's body, until the client is gone.

    Hypercorn never ends a connection with an unread body.
    """
    while (await receive())["type"] == "http.request":
        pass


def _call(app: WSGI, environ: dict[str, Any]) -> _Answer:
    start: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Callable[[bytes], Any]:
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        start[:] = int(status.partition(" ")[0]), encoded
        return lambda _: None

    chunks = app(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    status, headers = start
    return status, headers, body


def _make_environ(scope: Scope) -> dict[str, Any]:
    """Return the WSGI environment (PEP 3333) of an ASGI scope, without the request's body.

    The Host header is left out as well: no answer depends on it, and Werkzeug rejects some values.
    """
    server, client = scope.get("server") or ("localhost", 80), scope.get("client")
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0] if client else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        if raw_name == b"host":
            continue
        name = f"HTTP_{raw_name.decode('latin-1').upper().replace('-', '_')}"
        value = raw_value.decode("latin-1")
        environ[name] = f"{environ[name]},{value}" if name in environ else value
    return environ
