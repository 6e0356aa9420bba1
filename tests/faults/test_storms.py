"""Storms: of TLS handshakes, of scrapes, and of wrong passwords."""

import base64
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlsplit

import pytest
import trustme
from faults.prober import probing
from support import PATIENCE, Answer, Exporter, eventually, get
from web_files import TLS, hashed, issue, written

OK = "{name: ok, exec: {command: ['true']}, periodSeconds: 1, groups: [liveness, readiness]}"


@contextmanager
def storming(act: Callable[[], Answer | None], clients: int) -> Iterator[list[Answer | None]]:
    """Let clients act as fast as they can. Yields what they got so far."""
    over = threading.Event()
    results: list[Answer | None] = []

    def storm() -> None:
        while not over.is_set():
            try:
                results.append(act())
            except (OSError, http.client.HTTPException):  # the server may turn a client of a storm away
                continue

    threads = [threading.Thread(target=storm, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield results
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)


def find_listeners(exporter: Exporter) -> tuple[str, str]:
    """The addresses of the main listener and of the probe listener."""
    first = exporter.line(r"msg=listening address=(\S+)/").group(1)
    second = exporter.line(rf"msg=listening address=(?!{first})(\S+)/").group(1)
    return first, second


def test_a_storm_of_handshakes_leaves_the_probe_listener_usable(start, tmp_path):
    issue(trustme.CA(), tmp_path)
    web = "--web.config.file", str(written(tmp_path, TLS)), "--probe.listen-address", "127.0.0.1:0"
    main, probes = find_listeners(start(f"checks: [{OK}]", *web))
    parts = urlsplit(main)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def shake_hands() -> None:
        with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=PATIENCE) as plain:
            context.wrap_socket(plain).close()

    with storming(shake_hands, clients=10) as handshakes, probing(f"{probes}/livez") as prober:
        prober.wait_for_answers()
        eventually(lambda: len(handshakes) >= 500)
        prober.wait_for_answers()


def test_a_storm_of_scrapes_keeps_no_probe_waiting(start):
    """An answer comes in any case: the metrics, or 503 and a time to wait."""
    checks = ", ".join(
        [OK, *(f"{{name: check{number}, exec: {{command: ['true']}}, periodSeconds: 60}}" for number in range(200))]
    )
    exporter = start(f"checks: [{checks}]")
    url = exporter.url
    with (
        storming(lambda: get(f"{url}/metrics"), clients=100) as scrapes,
        probing(f"{url}/livez") as prober,
        probing(f"{url}/-/healthy") as itself,
    ):
        eventually(lambda: len(scrapes) >= 100, what="the storm has begun")
        for witness in (prober, itself):
            witness.wait_for_answers()
        eventually(lambda: len(scrapes) >= 1000)
    exporter.line("check ok: unknown -> pass")

    refused = [scrape for scrape in scrapes if scrape.status != 200]
    assert {scrape.status for scrape in refused} <= {503}
    assert all(scrape.headers["Retry-After"] for scrape in refused)


def authorization(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


@pytest.fixture
def guarded(start, tmp_path) -> tuple[str, str]:
    """The addresses of an exporter whose main listener asks for passwords."""
    web = written(tmp_path, f"basic_auth_users: {{ops: '{hashed('right', cost=10)}'}}\n")
    flags = "--web.config.file", str(web), "--probe.listen-address", "127.0.0.1:0"
    return find_listeners(start(f"checks: [{OK}]", *flags))


def test_a_storm_of_wrong_passwords_delays_neither_the_right_one_nor_a_probe(guarded):
    main, probes = guarded
    ask = partial(get, headers=authorization("ops", "right"))
    assert ask(f"{main}/metrics").status == 200
    numbers = iter(range(1_000_000))

    def guess() -> Answer:
        return get(f"{main}/metrics", headers=authorization("ops", f"wrong {next(numbers)}"))

    with (
        storming(guess, clients=50) as guesses,
        probing(f"{main}/metrics", ask) as right,
        probing(f"{probes}/livez") as prober,
    ):
        eventually(lambda: len(guesses) >= 20, what="the storm has begun")
        for witness in (right, prober):
            witness.wait_for_answers()

    assert {guess.status for guess in guesses} <= {401, 503}


def test_a_removed_user_and_a_changed_password_count_without_a_restart(guarded, tmp_path):
    main, _ = guarded
    old, new = authorization("ops", "right"), authorization("other", "new")
    assert get(f"{main}/metrics", headers=old).status == 200
    written(tmp_path, f"basic_auth_users: {{other: '{hashed('new')}'}}\n")

    eventually(lambda: get(f"{main}/metrics", headers=new).status == 200)
    assert get(f"{main}/metrics", headers=old).status == 401
