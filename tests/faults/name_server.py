"""Run in a network and mount namespace of its own: a name server, two web servers and the exporter on loopback.

    python name_server.py RESOLV_CONF CONFIG SAMPLES

Prints the exporter's log, and writes the samples of its /metrics to the file SAMPLES once a second, as JSON.
"""

import http.server
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import dns.message
import dns.rcode
import dns.rrset

NAME_SERVER = "127.0.0.53"
PORT = 8080
ELSEWHERE = "127.0.0.2"  # the other web server; nothing listens on 127.0.0.3
RECORDS = {
    ("good.example.test.", "A"): ("A", "127.0.0.1"),
    ("first.example.test.", "A"): ("A", "127.0.0.3", "127.0.0.1"),
    ("mixed.example.test.", "A"): ("A", "127.0.0.1"),
    ("mixed.example.test.", "AAAA"): ("AAAA", "2001:db8::1"),  # there is no route to it
    ("loop.example.test.", "A"): ("CNAME", "back.example.test."),
    ("back.example.test.", "A"): ("CNAME", "loop.example.test."),
}
CODES = {"servfail.example.test.": dns.rcode.SERVFAIL, "refused.example.test.": dns.rcode.REFUSED}
turns = itertools.count()


def respond(query: dns.message.Message) -> dns.message.Message | None:
    """The response; None for a name with `evil` in it, whatever follows from the search list."""
    question = query.question[0]
    name, kind = question.name.to_text(), question.rdtype.name
    if "evil" in name:
        return None
    response = dns.message.make_response(query)
    records = RECORDS.get((name, kind))
    if name == "rebind.example.test." and kind == "A":
        records = ("A", ELSEWHERE if next(turns) % 2 else "127.0.0.1")
    if records:
        response.answer.append(dns.rrset.from_text(name, 0, "IN", *records))
    elif name in CODES:
        response.set_rcode(CODES[name])
    elif name != "empty.example.test." and not any(name == known for known, _ in RECORDS):
        response.set_rcode(dns.rcode.NXDOMAIN)
    return response


def serve_names(sock: socket.socket) -> None:
    while True:
        wire, client = sock.recvfrom(4096)
        if (response := respond(dns.message.from_wire(wire))) is not None:
            sock.sendto(response.to_wire(), client)


class Page(http.server.BaseHTTPRequestHandler):
    """Says which address it was requested at."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.connection.getsockname()[0].encode())

    def log_message(self, *_: object) -> None: ...


def main(resolv_conf: str, config: str, samples: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "--bind", resolv_conf, "/etc/resolv.conf"], check=True)
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind((NAME_SERVER, 53))
    threading.Thread(target=serve_names, args=(names,), daemon=True).start()
    for address in ("127.0.0.1", ELSEWHERE):
        pages = http.server.ThreadingHTTPServer((address, PORT), Page)
        threading.Thread(target=pages.serve_forever, daemon=True).start()
    serve = ["serve", "--config.file", config, "--web.listen-address", "127.0.0.1:4584", "--shutdown-delay", "0"]
    subprocess.Popen([sys.executable, "-m", "exporter", *serve], stdout=sys.stdout, stderr=sys.stdout)
    file = Path(samples)
    while True:
        time.sleep(1)
        with suppress(OSError), urlopen("http://127.0.0.1:4584/metrics") as response:
            lines = [line.rpartition(" ") for line in response.read().decode().splitlines() if line[0] != "#"]
            file.with_suffix(".new").write_text(json.dumps({name: float(value) for name, _, value in lines}))
            file.with_suffix(".new").rename(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
