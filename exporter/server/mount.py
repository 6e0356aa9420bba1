"""A WSGI application as an ASGI one.

Hypercorn's own WSGI adapter holds a thread while a slow client takes its answer, and answers 500 where the body is
empty (HEAD).
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from typing import Any

CHUNK = 64 * 1024  # bytes of an answer in one client's buffer

WSGI = Callable[..., Iterable[bytes]]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def mounted(app: WSGI, quick: tuple[str, ...], threads: ThreadPoolExecutor) -> Callable[..., Awaitable[None]]:
    """The application; what stands below the `quick` paths is answered on the loop itself, the rest in a thread."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        if scope["type"] != "http":
            return
        gone = asyncio.create_task(_discard(receive))
        call = partial(_call, app, _environ(scope))
        called = call() if _is_quick(scope, quick) else await asyncio.get_running_loop().run_in_executor(threads, call)
        await _answer(called, send, gone)
        gone.cancel()

    return application


def _is_quick(scope: Scope, quick: tuple[str, ...]) -> bool:
    """A password takes bcrypt's time, and the loop has none."""
    path: str = scope["path"]
    return path.startswith(quick) and all(name != b"authorization" for name, _ in scope["headers"])


Called = tuple[int, list[tuple[bytes, bytes]], bytes]


async def _answer(called: Called, send: Send, gone: asyncio.Task[None]) -> None:
    """Send all of it, in parts that the client must take in time; what nobody will take, at once.

    Hypercorn ends a connection only when it has been given the whole answer, and keeps each part it cannot send. One
    that the client has closed after its answer it keeps for the keep-alive time, 5 s, so every answer closes its own: a
    probe or a scrape comes seconds later, and on a new connection anyway.
    """
    status, headers, body = called
    start = {"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]}
    await send(start)
    sent = 0
    while True:
        part = body[sent:] if gone.done() else body[sent : sent + CHUNK]
        sent += len(part)
        await send({"type": "http.response.body", "body": part, "more_body": sent < len(body)})
        if sent == len(body):
            return
        await asyncio.sleep(0)  # a part that is not sent does not wait, and `gone` would not be seen


async def _discard(receive: Receive) -> None:
    """Take a request's body and forget it, until the client has gone.

    Hypercorn never ends a connection on which a body was left lying.
    """
    while (await receive())["type"] == "http.request":
        pass


def _call(app: WSGI, environ: dict[str, Any]) -> Called:
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Callable[[bytes], Any]:
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        started[:] = int(status.partition(" ")[0]), encoded
        return lambda _: None

    chunks = app(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    status, headers = started
    return status, headers, body


def _environ(scope: Scope) -> dict[str, Any]:
    """The WSGI environment (PEP 3333) of an ASGI scope, without the request's body.

    Without its Host header too: no answer depends on it, and Werkzeug refuses requests for some of them.
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
