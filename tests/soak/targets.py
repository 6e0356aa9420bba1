"""The targets of the soak, healthy and misbehaving, in a process of their own.

python -m tests.soak.targets CERTIFICATE prints the ports as JSON and serves until it is killed.
"""

import asyncio
import json
import socket
import ssl
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

HALF_CYCLE = 40  # seconds for which a flapping target is healthy, and then unhealthy
SILENCE = 30.0  # seconds after which a silent target closes the connection, far beyond every timeout

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Script = Callable[[Reader, Writer], Awaitable[None]]


def is_up(now: float) -> bool:
    """Whether the flapping targets are healthy at this time (Unix time in seconds)."""
    return int(now / HALF_CYCLE) % 2 == 0


def respond(body: bytes, *lines: bytes, status: bytes = b"200 OK") -> Script:
    """Read a request and send a complete response."""

    async def act(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = b"Content-Length: %d" % len(body)
        writer.write(b"\r\n".join((b"HTTP/1.1 " + status, *lines, length, b"Connection: close", b"", body)))
        await writer.drain()

    return act


async def flap(reader: Reader, writer: Writer) -> None:
    """Respond with 200 for some time, then with 500 for the same time."""
    status = b"200 OK" if is_up(time.time()) else b"500 Internal Server Error"
    await respond(b"flapping", status=status)(reader, writer)


async def stay_silent(reader: Reader, _writer: Writer) -> None:
    """Accept the connection, and send nothing until the client has left."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SILENCE):
            while await reader.read(65536):
                pass


async def drip(_reader: Reader, writer: Writer) -> None:
    """Send a response's head one byte at a time, too slowly for every timeout."""
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Drip: 1\r\n" * 100:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.1)


async def reset(reader: Reader, writer: Writer) -> None:
    """Read a request, and reset the connection."""
    await reader.readuntil(b"\r\n\r\n")
    abort(writer)


def abort(writer: Writer) -> None:
    """Close with a reset instead of an end."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def send_garbage(reader: Reader, writer: Writer) -> None:
    """Send bytes that are not HTTP."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(bytes(range(256)) * 16 + b"\r\n\r\n")
    await writer.drain()


def flood(head: bytes, data: bytes) -> Script:
    """Send the head, and then the data over and over until the client leaves."""

    async def act(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while True:
            writer.write(data)
            await writer.drain()

    return act


async def greet(_reader: Reader, writer: Writer) -> None:
    """Send the banner of a mail server."""
    writer.write(b"220 mail.example.com ESMTP\r\n")
    await writer.drain()


HEAD = b"HTTP/1.1 200 OK\r\n"
PROMETHEUS = b'{"status":"success","data":{"resultType":"scalar","result":[0,"7"]}}'
SCRIPTS: dict[str, Script] = {
    "ok": respond(b"healthy"),
    "flapping": flap,
    "silent": stay_silent,
    "dripping": drip,
    "reset": reset,
    "garbage": send_garbage,
    "endless_body": flood(HEAD + b"\r\n", b"x" * 65536),
    "endless_head": flood(HEAD, b"X-Filler: 0123456789\r\n" * 2048),
    "many_headers": respond(b"healthy", *(b"X-Filler-%d: filler" % number for number in range(500))),
    "redirect_loop": respond(b"", b"Location: /again", status=b"302 Found"),
    "status_503": respond(b"", status=b"503 Service Unavailable"),
    "json": respond(b'{"status": "up", "queue": {"length": 7}, "ratio": 0.5}'),
    "json_nan": respond(b'{"ratio": NaN}'),
    "json_deep": respond(b"[" * 900 + b"]" * 900),
    "banner": greet,
    "prometheus": respond(PROMETHEUS, b"Content-Type: application/json"),
}


class NameServer(asyncio.DatagramProtocol):
    """A name server: `good.*` has an address, `absent.*` does not exist, and for any other name it stays silent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        first_label, question = data[13 : 13 + data[12]], data[12 : data.index(b"\0", 12) + 5]
        found = first_label == b"good"
        if not found and first_label != b"absent":
            return
        head = data[:2] + struct.pack(">HHHHH", 0x8180 if found else 0x8183, 1, int(found), 0, 0)
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([127, 0, 0, 1]) if found else b""
        self._transport.sendto(head + question + record, addr)


async def serve(certificate: str) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    ports = {}
    servers = []
    for name, script in SCRIPTS.items():
        servers.append(await asyncio.start_server(run(script), "127.0.0.1", 0, backlog=512))
        ports[name] = port_of(servers[-1])
    servers.append(await asyncio.start_server(run(SCRIPTS["ok"]), "127.0.0.1", 0, ssl=tls))
    ports["tls"] = port_of(servers[-1])
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(NameServer, ("127.0.0.1", 0))
    ports["dns"] = transport.get_extra_info("sockname")[1]
    print(json.dumps(ports), flush=True)
    await asyncio.Event().wait()


def run(script: Script) -> Callable[[Reader, Writer], Awaitable[None]]:
    async def act(reader: Reader, writer: Writer) -> None:
        with suppress(OSError, EOFError, asyncio.LimitOverrunError):
            await script(reader, writer)
        with suppress(OSError):
            writer.close()

    return act


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
