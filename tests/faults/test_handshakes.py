"""A storm of TLS handshakes."""

import socket
import ssl
import threading
from urllib.parse import urlsplit

import trustme
from faults.prober import probing
from support import PATIENCE, eventually
from web_files import TLS, issue, written


class Attackers:
    """Threads that connect, complete a TLS handshake, and disconnect, as fast as they can."""

    def __init__(self, url: str, count: int) -> None:
        parts = urlsplit(url)
        self._address = (str(parts.hostname), int(parts.port or 0))
        self._context = ssl.create_default_context()
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self.over = threading.Event()
        self.handshakes = 0
        self.threads = [threading.Thread(target=self._attack, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _attack(self) -> None:
        while not self.over.is_set():
            try:
                with (
                    socket.create_connection(self._address, timeout=PATIENCE) as plain,
                    self._context.wrap_socket(plain),
                ):
                    self.handshakes += 1
            except OSError:
                continue


def test_a_storm_of_handshakes_leaves_the_probe_listener_usable(start, tmp_path):
    issue(trustme.CA(), tmp_path)
    exporter = start(
        "checks: [{name: ok, exec: {command: ['true']}, periodSeconds: 1, groups: [liveness, readiness]}]",
        *("--web.config.file", str(written(tmp_path, TLS))),
        *("--probe.listen-address", "127.0.0.1:0"),
    )
    main = exporter.line(r"address=(https\S+)/").group(1)
    probes = exporter.line(r"address=(http:\S+)/").group(1)
    attackers = Attackers(main, 10)
    try:
        with probing(f"{probes}/livez") as prober:
            eventually(lambda: attackers.handshakes >= 100, what="the storm has begun")
            before = len(prober.codes)
            eventually(lambda: attackers.handshakes >= 500)
            prober.wait_for_answers()
            answers = len(prober.codes) - before
    finally:
        attackers.over.set()
        for thread in attackers.threads:
            thread.join(PATIENCE)

    assert answers >= 10
    exporter.line("check ok: unknown -> pass")
