"""The kind `websocket` against trio-websocket, nginx in front of it, and servers that do not follow the protocol."""

import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio_websocket
import trustme
from kinds.servers import Server, accept, drip, flood, hang, receive_close, reset, serving, wait_for_request
from support import PATIENCE, Process, command, configure_nginx, ended, eventually, free_port, within

from exporter.kinds.websocket import MAX_RESPONSE, Websocket
from exporter.model import Outcome, Reason, Status

NGINX = """
    server {{
        listen 127.0.0.1:{proxy};
        location / {{ proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}
        location /forgotten {{ proxy_pass http://127.0.0.1:{port}; }}
        location /moved {{ return 301 /echo; }}
        location /private {{ return 401; }}
        location /page {{ return 200 "hello"; }}
    }}
"""


class Peer:
    """A server of trio-websocket in a thread. `closed` has the code of each WebSocket that a client has closed."""

    def __init__(self) -> None:
        self.closed: list[int | None] = []
        self.headers: list[dict[str, str]] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._serve,), daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def close(self) -> None:
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(PATIENCE)

    async def _serve(self) -> None:
        self._token, self._scope = trio.lowlevel.current_trio_token(), trio.CancelScope()
        with self._scope:
            async with trio.open_nursery() as nursery:
                listeners = await nursery.start(trio_websocket.serve_websocket, self._handle, "127.0.0.1", 0, None)
                self.port = listeners.port
                self._ready.set()

    async def _handle(self, request: trio_websocket.WebSocketRequest) -> None:
        self.headers.append({name.decode(): value.decode() for name, value in request.headers})
        opened = await request.accept(subprotocol=next(iter(request.proposed_subprotocols), None))
        with suppress(trio_websocket.ConnectionClosed):
            if request.path == "/bye":
                await opened.aclose(1008, "not today")
            elif request.path == "/bytes":
                await opened.send_message(b"\x00ready\xff")
            elif request.path == "/greeting":
                await opened.ping(b"are you there?")
                for message in ("hello", "ready"):
                    await opened.send_message(message)
            while True:
                await opened.send_message("echo: " + await opened.get_message())
        self.closed.append(opened.closed.code)


@pytest.fixture(scope="module")
def peer() -> Iterator[SimpleNamespace]:
    """The server, and the port of nginx in front of it."""
    with ExitStack() as stack:
        server, proxy = Peer(), free_port()
        stack.callback(server.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "nginx.conf").write_text(configure_nginx(NGINX.format(proxy=proxy, port=server.port)))
        stack.enter_context(ended(Process([command("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"])))
        eventually(lambda: probe(proxy, path="/page").reason is Reason.STATUS, what="nginx answers")
        yield SimpleNamespace(server=server, proxy=proxy)


def probe(port: int, seconds: float = PATIENCE, **options: Any) -> Outcome:
    return Websocket(port=port, **options).probe(within(seconds))


PASSING = {
    "handshake alone": {},
    "echo": {"send": "ping", "expect": "echo: ping"},
    "echo of many characters": {"send": "é" * 4000, "expect": "echo: " + "é" * 4000},
    "second message": {"path": "/greeting", "expect": "ready"},
    "regular expression": {"path": "/greeting", "expect_matches": "^rea.y$"},
    "binary message": {"path": "/bytes", "expect": "ready"},
}


@pytest.mark.parametrize("options", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "through nginx"])
def test_a_server_that_follows_the_protocol_passes(peer, proxied, options):
    closed = len(peer.server.closed)
    outcome = probe(peer.proxy if proxied else peer.server.port, **options)

    assert outcome.status is Status.PASS, outcome.summary
    assert [measurement.name for measurement in outcome.measurements] == ["endpoint_latency_seconds"]
    eventually(lambda: len(peer.server.closed) > closed, what="the server has closed")
    assert peer.server.closed[closed:] == [1000]


def test_headers_are_sent(peer):
    headers = [("Origin", "https://shop.example"), ("Sec-WebSocket-Protocol", "graphql-transport-ws")]
    options = {"http_headers": [{"name": name, "value": value} for name, value in headers]}
    outcome = probe(peer.server.port, bearer_token={"env": "HOME"}, **options)

    assert outcome.status is Status.PASS, outcome.summary
    assert {"origin": headers[0][1], "user-agent": "health-exporter"}.items() <= peer.server.headers[-1].items()
    assert peer.server.headers[-1]["authorization"].startswith("Bearer ")


@pytest.mark.parametrize(("path", "status"), [("/moved", 301), ("/private", 401), ("/page", 200), ("/forgotten", 400)])
def test_a_response_other_than_101_fails(peer, path, status):
    outcome = probe(peer.proxy, path=f"{path}?token=hunter2")

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)
    assert outcome.summary == f"ws://127.0.0.1:{peer.proxy}{path} returned {status}, expected 101"


def test_a_server_that_closes_the_websocket_fails(peer):
    outcome = probe(peer.server.port, path="/bye", expect="ready")

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.BODY)
    assert outcome.summary.endswith("closed the WebSocket with the code 1008 without sending the expected text; "
                                    "received nothing")  # fmt: skip


def accepting(**changes: str) -> Callable[[Server, socket.socket], None]:
    return lambda server, connection: accept(server, connection, **changes)


def frame(payload: bytes, code: int = 1, *, final: bool = True, flags: int = 0) -> bytes:
    size = len(payload)
    length = bytes([size]) if size < 126 else struct.pack("!BH", 126, size)
    return bytes([(0x80 if final else 0) | flags | code]) + length + payload


FRAGMENTS = frame(b"re", final=False) + frame(b"", 9) + frame(b"a", 0, final=False) + frame(b"dy", 0)
SCRIPTED = {
    "fragments with a ping between them": ((accept, FRAGMENTS, receive_close), Status.PASS, None),
    "the message with the handshake": ((accept, frame(b""), frame(b"ready")), Status.PASS, None),
    "a text at the end of 10 KiB": ((accept, frame(b"x" * (MAX_RESPONSE - 5) + b"ready!")), Status.PASS, None),
    "a text behind 10 KiB": ((accept, frame(b"x" * (MAX_RESPONSE - 4) + b"ready"), hang), Status.FAIL, Reason.BODY),
    "many messages": ((accept, flood(frame(b"x" * 100))), Status.FAIL, Reason.BODY),
    "pings without end": ((accept, flood(frame(b"", 10))), Status.FAIL, Reason.STATUS),
    "a huge frame": ((accept, b"\x81\x7f\x7f" + b"\xff" * 7, flood(b"x" * 4096)), Status.FAIL, Reason.BODY),
    "an end without a Close frame": ((accept, frame(b"hello")), Status.FAIL, Reason.CONNECT),
    "a Close frame without a code": ((accept, frame(b"", 8), receive_close), Status.FAIL, Reason.BODY),
    "a masked frame": ((accept, b"\x81\x85", b"\0\0\0\0ready", hang), Status.FAIL, Reason.STATUS),
    "a compressed frame": ((accept, frame(b"ready", flags=0x40), hang), Status.FAIL, Reason.STATUS),
    "an unknown code": ((accept, frame(b"ready", 3), hang), Status.FAIL, Reason.STATUS),
    "a long ping": ((accept, frame(b"x" * 126, 9), hang), Status.FAIL, Reason.STATUS),
    "a fragmented ping": ((accept, frame(b"", 9, final=False), hang), Status.FAIL, Reason.STATUS),
    "a continuation of nothing": ((accept, frame(b"ready", 0), hang), Status.FAIL, Reason.STATUS),
    "two beginnings": ((accept, frame(b"re", final=False) + frame(b"ready"), hang), Status.FAIL, Reason.STATUS),
    "another key": ((accepting(**{"Sec-WebSocket-Accept": "x"}),), Status.FAIL, Reason.STATUS),
    "no Upgrade": ((accepting(Upgrade=""), hang), Status.FAIL, Reason.STATUS),
    "no Connection": ((accepting(Connection="keep-alive"), hang), Status.FAIL, Reason.STATUS),
    "an extension": ((accepting(Sec_WebSocket_Extensions="x"), hang), Status.FAIL, Reason.STATUS),
    "a subprotocol": ((accepting(Sec_WebSocket_Protocol="chat"), hang), Status.FAIL, Reason.STATUS),
    "text that is not UTF-8": ((accept, frame(b"ready\xff"), hang), Status.FAIL, Reason.STATUS),
    "half a character, and the rest": (
        (accept, frame(b"\xc3", final=False), frame(b"\xa9 ready", 0)),
        Status.PASS,
        None,
    ),
    "bytes that are not UTF-8": ((accept, frame(b"ready\xff", 2)), Status.PASS, None),
    "half a code": ((accept, frame(b"\x03", 8), hang), Status.FAIL, Reason.STATUS),
    "not HTTP": ((b"SSH-2.0-OpenSSH_9.2\r\n", hang), Status.FAIL, Reason.STATUS),
    "nothing": ((), Status.FAIL, Reason.CONNECT),
    "a reset": ((wait_for_request, reset), Status.FAIL, Reason.CONNECT),
}


@pytest.mark.parametrize(("script", "status", "reason"), SCRIPTED.values(), ids=SCRIPTED)
def test_frames_are_read_by_the_protocol_and_by_bytes(script, status, reason):
    with serving(script, listens=False) as server:
        outcome = probe(server.port, expect="ready")

    assert (outcome.status, outcome.reason) == (status, reason), outcome.summary
    assert f"ws://127.0.0.1:{server.port}/" in outcome.summary


def test_an_upgrade_is_not_possible_in_http_1_0():
    def accept_in_1_0(server: Server, connection: socket.socket) -> None:
        accept(
            server,
            SimpleNamespace(
                recv=connection.recv, sendall=lambda data: connection.sendall(data.replace(b"HTTP/1.1", b"HTTP/1.0"))
            ),
        )

    with serving((accept_in_1_0, hang), listens=False) as server:
        outcome = probe(server.port)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)
    assert "HTTP/1.0" in outcome.summary


@pytest.mark.parametrize(("selected", "status"), [("", "pass"), ("graphql-transport-ws", "pass"), ("x", "fail")])
def test_a_server_selects_one_of_the_subprotocols_or_none(selected, status):
    header = {"name": "sec-websocket-protocol", "value": "graphql-ws, graphql-transport-ws"}
    selection = {"Sec_WebSocket_Protocol": selected} if selected else {}
    with serving((accepting(**selection), receive_close), listens=False) as server:
        outcome = probe(server.port, http_headers=[header])

    assert (outcome.status, outcome.reason) == (status, Reason.STATUS if status == "fail" else None)


@pytest.mark.parametrize(
    ("code", "status"), [(1000, "pass"), (1001, "pass"), (1008, "fail"), (1011, "fail"), (4401, "fail")]
)
def test_a_server_that_refuses_the_client_after_the_handshake_fails(code, status):
    with serving((accept, frame(struct.pack("!H", code) + b"no", 8), receive_close), listens=False) as server:
        outcome = probe(server.port)

    assert outcome.status == status, outcome.summary
    if status == "fail":
        assert outcome.summary == f"ws://127.0.0.1:{server.port}/ closed the WebSocket with the code {code}"


def test_what_comes_after_the_close_frame_does_not_matter():
    """Nor does what the server sends before it has read it."""
    script = (accept, frame(b"x" * 60_000), frame(b"", 9), frame(b"", 8), b"\xff" * 100)
    with serving(script, listens=False) as server:
        assert probe(server.port).status is Status.PASS


LATE = {
    "a silent server": (hang,),
    "a head that drips": (drip(b"HTTP/1.1 101 x\r\nA: b\r\n"),),
    "no message": (accept, hang),
    "a message that drips": (accept, b"\x81\x7e\xff\xff", drip(b"x")),
    "pings that drip": (accept, drip(frame(b"", 9))),
}


@pytest.mark.parametrize("script", LATE.values(), ids=LATE)
def test_the_deadline_bounds_everything(script):
    with serving(script, listens=False) as server:
        outcome = probe(server.port, 0.2, expect="ready")
        assert not server.gave_up.is_set()

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT), outcome.summary


def test_a_server_that_does_not_close_does_not_fail():
    with serving((accept, hang), listens=False) as server:
        assert probe(server.port, 0.2).status is Status.PASS


def test_a_message_does_not_show_what_was_sent():
    with serving(
        (accept, frame(b"login of hunter2-hunter2 refused"), frame(b"\x03\xe8", 8), receive_close), listens=False
    ) as server:
        outcome = probe(server.port, send="hunter2-hunter2", expect="welcome")

    assert outcome.reason is Reason.BODY
    assert "hunter2" not in outcome.summary
    assert "login of *** refused" in outcome.summary


def test_over_tls(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("shop.example").configure_cert(context)
    options = {"scheme": "WSS", "verify_tls": True, "ca_file": tmp_path / "ca.pem"}
    with serving((accept, receive_close), tls=context, listens=False) as server:
        named = probe(server.port, server_name="shop.example", **options)
        other = probe(server.port, **options)
        unverified = probe(server.port, scheme="WSS")
        plain = probe(server.port)

    assert (named.status, unverified.status) == (Status.PASS, Status.PASS), named.summary
    assert (other.status, other.reason) == (Status.FAIL, Reason.TLS)
    assert plain.status is Status.FAIL


def test_tls_with_a_server_that_does_not_speak_it():
    with serving((b"HTTP/1.1 400 Bad Request\r\n\r\n",), listens=False) as server:
        assert probe(server.port, scheme="WSS").reason is Reason.TLS


def test_a_closed_port_fails():
    assert probe(free_port()).reason is Reason.CONNECT


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"send": "ping"}, "send requires expect"),
        ({"verify_tls": True}, "verifyTLS requires scheme: WSS"),
        ({"http_headers": [{"name": "upgrade", "value": "h2c"}]}, "must not contain upgrade"),
        ({"bearer_token": {"env": "A"}, "basic_auth": {"username": "a", "password": {"env": "A"}}}, "not both"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Websocket(port=80, **options)


def test_the_target_has_neither_query_nor_credentials():
    assert Websocket(port=80, path="/live?token=x", host="::1").target == "ws://[::1]:80/live"
    assert Websocket(port=443, scheme="WSS", host="a.example").target == "wss://a.example:443/"
