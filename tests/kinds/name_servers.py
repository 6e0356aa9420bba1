"""A small name server over UDP and TCP, whose messages dnspython makes, for the kind `dns`."""

import socket
import threading
from contextlib import contextmanager, suppress

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

MANY = [f"192.0.2.{number}" for number in range(200)]
RECORDS = {
    ("shop.example.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("shop.example.", "AAAA"): ["2001:db8::1"],
    ("example.", "MX"): ["10 mail.example.", "20 Mail2.Example."],
    ("example.", "TXT"): ['"v=spf1 " "include:other.example -all"'],
    ("example.", "NS"): ["ns.example."],
    ("_sip._tcp.example.", "SRV"): ["10 60 5060 sip.example."],
    ("1.2.0.192.in-addr.arpa.", "PTR"): ["shop.example."],
    (f"1.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa.", "PTR"): ["shop.example."],
}


def zone(query: dns.message.Message, *, tcp: bool) -> dns.message.Message:
    """The response of this zone."""
    response = dns.message.make_response(query)
    name, kind = str(query.question[0].name).lower(), query.question[0].rdtype.name
    if name == "www.example.":  # an alias of shop.example.
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", "shop.example."))
        name = "shop.example."
    if records := RECORDS.get((name, kind)):
        response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *records))
    elif name == "nothing.example.":
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif name == "broken.example.":
        response.set_rcode(dns.rcode.SERVFAIL)
    elif name == "many.example." and tcp:
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", *MANY))
    elif name == "many.example.":
        response.flags |= dns.flags.TC
    return response


class NameServer:
    """Responds over UDP and, on the same port, over TCP.

    `respond` makes the messages for a query: one or a list, each a message, bytes or None.
    """

    def __init__(self, respond=zone, host: str = "127.0.0.1", port: int = 0) -> None:
        self._respond = respond
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._tcp = socket.create_server((host, port), family=family)
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(family, socket.SOCK_DGRAM)
        self._udp.bind((host, self.port))
        self.protocols: list[str] = []
        self._threads = [threading.Thread(target=serve, daemon=True) for serve in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        for sock in (self._udp, self._tcp):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._udp.close()
        self._tcp.close()

    def _wires(self, wire: bytes, tcp: bool) -> list[bytes]:
        self.protocols.append("tcp" if tcp else "udp")
        messages = self._respond(dns.message.from_wire(wire), tcp=tcp)
        messages = messages if isinstance(messages, list) else [messages]
        return [
            message if isinstance(message, bytes) else message.to_wire(max_size=65535)
            for message in messages
            if message is not None
        ]

    def _serve_udp(self) -> None:
        with suppress(OSError):
            while True:
                wire, address = self._udp.recvfrom(65535)
                if not wire:
                    return
                for message in self._wires(wire, tcp=False):
                    self._udp.sendto(message, address)

    def _serve_tcp(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._tcp.accept()
                with connection, connection.makefile("rb") as stream:
                    wire = stream.read(int.from_bytes(stream.read(2)))
                    for message in self._wires(wire, tcp=True):
                        connection.sendall(len(message).to_bytes(2) + message)


@contextmanager
def name_server(respond, host: str = "127.0.0.1", port: int = 0):
    server = NameServer(respond, host, port)
    try:
        yield server
    finally:
        server.close()
