"""Clients that are broken or hostile: the kubelet's probes are answered nevertheless."""

import http.client
import logging
import socket
import ssl
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import h2.config
import h2.connection
import pytest
import trustme
from faults.usage import list_processes
from make import PASS
from stage import Stage, exchange, served
from support import PATIENCE, Exporter, Process, ended, eventually, get

from exporter.server.connection import CLIENT_TIMEOUT, MAX_HEAD, MAX_LINES
from exporter.server.dispatch import MAX_WAITING, THREADS
from exporter.server.listener import MAX_CONNECTIONS, MAX_SENDING
from exporter.server.probes import MAX_QUERY

BODY = b"x" * 30_000_000  # more than the kernel holds for a client that does not read
PROBES = ("/livez", "/readyz", "/startupz", "/healthz", "/livez/c0", "/readyz?verbose", "/-/healthy", "/-/ready")
REQUEST = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


def dispatch(stage):
    """What the exporter serves, and an answer that is larger than a client's receive buffer."""
    real = stage.app()

    def serve(environ, start_response):
        if environ["PATH_INFO"] == "/slow":
            time.sleep(0.5)
        if environ["PATH_INFO"] != "/big":
            return real(environ, start_response)
        start_response("200 OK", [("Content-Length", str(len(BODY)))])
        return [BODY]

    return stage.dispatch(serve)


@pytest.fixture(scope="module")
def stage():
    made = Stage()
    made.show({f"c{number}": "P" for number in range(100)})
    with served(dispatch(made)) as made.url:
        yield made


def connect(url, receive=None):
    parts = urlsplit(url)
    client = socket.socket()
    if receive:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    client.settimeout(PATIENCE)
    client.connect((parts.hostname, parts.port))
    return client


# The siege: all kinds of clients at the same time, watched from outside until the last of them has been thrown out.


class Besieger:
    """A client, its action every half second, and how long the server kept its connection (None while it does)."""

    def __init__(self, kind, url, act=lambda client: None, receive=None):
        self.kind, self.act = kind, act
        self.began = time.monotonic()
        self.client = connect(url, receive)
        self.port = self.client.getsockname()[1]
        self.held = None


@pytest.fixture(scope="module")
def siege():
    """The besiegers by kind, how many connections were left after each answer of /livez, and the log."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    stage = Stage()
    stage.show({f"c{number}": "P" for number in range(100)})
    logged = []
    handler = logging.Handler()
    handler.emit = logged.append
    with ExitStack() as stack:
        logging.getLogger().addHandler(handler)
        stack.callback(logging.getLogger().removeHandler, handler)
        plain = stack.enter_context(served(dispatch(stage)))
        secure = stack.enter_context(served(dispatch(stage), context))
        besiegers = [
            *idle(plain, 20),
            *slow(plain, 20),
            *silent(secure, 200),
            *half_open(plain, 300),
            *drips(plain, 10),
        ]
        for besieger in besiegers:
            stack.callback(besieger.client.close)
        held_after = watch(besiegers, [plain, secure])
    by_kind = {}
    for besieger in besiegers:
        by_kind.setdefault(besieger.kind, []).append(besieger)
    return by_kind, held_after, [record.getMessage() for record in logged]


def half_open(url, count):
    for _ in range(count):
        besieger = Besieger("half-open", url)
        besieger.client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        yield besieger


def drips(url, count):
    for _ in range(count):
        besieger = Besieger("dripping", url, lambda client: client.send(b"x"))
        besieger.client.sendall(b"GET /livez HTTP/1.1\r\nX: ")
        yield besieger


def silent(url, count):
    for _ in range(count):
        yield Besieger("silent TLS", url)


def slow(url, count):
    for number in range(count):
        act = (lambda client: client.recv(1)) if number % 2 else lambda client: None
        besieger = Besieger("slow", url, act, receive=4096)
        besieger.client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        yield besieger


def idle(url, count):
    for _ in range(count):
        besieger = Besieger("idle", url)
        besieger.client.sendall(REQUEST)
        assert b"200" in besieger.client.recv(1000)
        yield besieger


def watch(besiegers, urls):
    """Record when the server disconnects each besieger, and send probes meanwhile.

    Returns the number of besiegers that were still connected after the answer to each probe. Their timeouts do not
    depend on how busy the machine is, so a server that they block gives no answer before they are gone.
    """
    inside, held_after, until, acted = list(besiegers), [], time.monotonic() + PATIENCE, 0.0
    while inside and time.monotonic() < until:
        assert get(f"{urls[0]}/livez").status == 200
        held = {port for url in urls for port in clients(url)}
        for besieger in inside:
            besieger.held = None if besieger.port in held else time.monotonic() - besieger.began
        inside = [besieger for besieger in inside if besieger.held is None]
        held_after.append(len(inside))
        if time.monotonic() - acted > 0.5:
            acted = time.monotonic()
            for besieger in inside:
                with suppress(OSError):
                    besieger.act(besieger.client)
        time.sleep(0.05)
    return held_after


def clients(url):
    """The ports of the clients with a connection to this server, according to the kernel."""
    here = f":{urlsplit(url).port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if local.endswith(here) and state in ("01", "08"):  # established, or ended by the client only
            yield int(remote.partition(":")[2], 16)


@pytest.mark.parametrize("kind", ["half-open", "dripping", "silent TLS", "slow", "idle"])
def test_nobody_is_held_forever(siege, kind):
    by_kind, _, _ = siege

    assert all(besieger.held is not None for besieger in by_kind[kind])


@pytest.mark.parametrize("kind", ["half-open", "dripping"])
def test_a_request_has_its_time_in_all_and_not_for_each_byte(siege, kind):
    """Neither is disconnected early, and the dripping one is disconnected although it never pauses that long."""
    by_kind, _, _ = siege

    assert all(besieger.held > CLIENT_TIMEOUT - 1 for besieger in by_kind[kind])


def test_the_kubelet_gets_its_responses_while_they_are_held(siege):
    _, held_after, _ = siege

    assert sum(count > 100 for count in held_after) >= 3


def test_nobody_who_was_thrown_out_is_an_error(siege):
    _, _, logged = siege

    assert logged == []


# One by one


def test_clients_that_go_away_are_no_errors(stage, caplog):
    """In the middle of an answer, a request or a handshake, with or without a reset."""
    for receive, request in ((None, b"GET /big"), (4096, b"GET /big"), (None, b"GET /livez")):
        for abrupt in (True, False):
            client = connect(stage.url, receive)
            client.sendall(request + (b" HTTP/1.1\r\nHost: x\r\n\r\n" if b"big" in request else b""))
            if b"big" in request:
                client.recv(1000)
            if abrupt:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()

    eventually(lambda: stage.get("/livez").status == 200)
    assert exchange(stage.url, b"GET /big HTTP/1.0\r\n\r\n").endswith(b"x" * 1000)
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/slow"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_body_is_neither_read_nor_kept(stage, path, method):
    """However large it is, the client gets its answer, and the connection ends."""
    client = connect(stage.url)
    with client:
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n".encode())
        sender = threading.Thread(target=pour, args=(client,))
        sender.start()
        sender.join(2 * PATIENCE)
        assert not sender.is_alive()


def pour(client):
    """Send until the other side closes the connection; with pauses, as it discards for seconds what it receives."""
    with suppress(ConnectionError):
        for _ in range(100_000):
            client.send(BODY[:65536])
            time.sleep(0.01)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
def test_a_small_body_is_ignored(stage, framing):
    received = exchange(stage.url, b"GET /livez HTTP/1.1\r\nHost: x\r\n" + framing)

    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"\r\n\r\nok")


def test_a_client_that_waits_to_be_told_to_go_on_is_answered(stage):
    with connect(stage.url) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert b"HTTP/1.1 200 " in read_until(client, b"ok")


def read_until(client, end):
    received = b""
    while not received.endswith(end):
        data = client.recv(4096)
        assert data, received
        received += data
    return received


def test_a_client_that_says_it_will_send_no_more_is_answered(stage):
    with connect(stage.url) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        received = 0
        while data := client.recv(1 << 20):
            received += len(data)

    assert received > len(BODY)


def test_clients_that_go_away_in_the_middle_of_an_answer_leave_nothing_behind(stage):
    for _ in range(5):
        with connect(stage.url, receive=4096) as client:
            client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            client.recv(1000)

    eventually(lambda: not list(clients(stage.url)))


def test_a_connection_has_one_answer_and_is_closed_at_once():
    """A client that closes after its answer leaves nothing behind, and of pipelined requests only one is answered."""
    stage = Stage()
    with served(stage.dispatch()) as url:
        received = exchange(url, REQUEST * 500)

    assert received.count(b"HTTP/1.1 200") == 1
    assert b"\r\nconnection: close\r\n" in received
    assert stage.answers.counts() == {("liveness", 200): 1}


def test_http_2_is_not_spoken(stage):
    """Neither with prior knowledge nor by an upgrade, which is ignored, as RFC 9110 allows."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    connection.send_headers(1, [(":method", "GET"), (":path", "/livez"), (":scheme", "http"), (":authority", "x")])
    assert b"ok" not in exchange(stage.url, connection.data_to_send())

    upgrade = (
        b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    )
    answer = exchange(stage.url, REQUEST.replace(b"Host", upgrade + b"Host"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize("path", [b"/livez", b"/"])
def test_an_upgrade_to_a_web_socket_is_ignored(stage, path):
    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )

    answer = exchange(stage.url, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")

    assert answer.startswith(b"HTTP/1.1 200 ")


def test_the_longest_head_and_query_are_served(stage):
    lines = b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Y: z\r\n" * (MAX_LINES - 3) + b"\r\n"
    query = b"GET /livez?exclude=" + b"x" * (MAX_QUERY - 8) + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    start, end = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Y: ", b"\r\n\r\n"
    long = start + b"z" * (MAX_HEAD - len(start) - len(end)) + end

    for request in (lines, query, long):
        assert exchange(stage.url, request).startswith(b"HTTP/1.1 200 ")


def test_a_head_that_arrives_byte_by_byte_is_served(stage):
    with connect(stage.url) as client:
        for byte in REQUEST:
            client.sendall(bytes([byte]))
        assert read_until(client, b"ok").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0\1\2\3" * 100 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Y: z\r\n" * 30_000,
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Y: z\r\n" * MAX_LINES + b"\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Y: " + b"z" * MAX_HEAD + b"\r\n\r\n",
        b"GET /livez?exclude=" + b"x" * MAX_QUERY + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=lambda content: repr(content[:24]),
)
def test_what_is_no_request_is_refused_quietly(stage, garbage, caplog):
    with suppress(ConnectionError):
        answer = exchange(stage.url, garbage)
        assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))

    assert stage.get("/livez").status == 200
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]


class Gate:
    """An application whose threads stop at each request until the gate is opened, except for the paths of probes."""

    def __init__(self):
        self.stage, self.begun, self._open = Stage(), [], threading.Event()
        self.keep = True  # the first requests get their answers
        self.stage.show({"c0": "P"})
        self._real = self.stage.app()

    def __call__(self, environ, start_response):
        self.begun.append(f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}")
        assert self._open.wait(PATIENCE)
        return self._real(environ, start_response)

    @contextmanager
    def serve(self, clients):
        """Serve with all threads at the gate; yields a pool for that many clients more."""
        with served(self.stage.dispatch(self)) as self.stage.url, ThreadPoolExecutor(THREADS + clients) as pool:
            try:
                first = [pool.submit(self.stage.get, f"/metrics?name[]=first{number}") for number in range(THREADS)]
                eventually(lambda: len(self.begun) == THREADS, what="every thread of the server is taken")
                yield pool
            finally:
                self._open.set()
            assert {answer.result().status for answer in first} == {200 if self.keep else 503}

    def open(self):
        self._open.set()


def test_probes_wait_for_no_thread():
    """With all threads busy and the queue full, probes are answered, also as JSON: then in plain text."""
    gate = Gate()
    with gate.serve(MAX_WAITING + 10) as pool:
        scrapes = [pool.submit(gate.stage.get, f"/metrics?name[]={number}") for number in range(MAX_WAITING + 10)]
        eventually(lambda: sum(scrape.done() for scrape in scrapes) == 10, what="the queue is full")
        waiting = [scrape for scrape in scrapes if not scrape.done()]
        refused = gate.stage.get("/")
        probes = {path: gate.stage.get(path) for path in PROBES}
        json = gate.stage.get("/livez?format=json")
        done = [answer.done() for answer in waiting]
        gate.open()
        answered = {answer.result().status for answer in waiting}

    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert {answer.status for answer in probes.values()} == {200}
    assert (json.status, json.text) == (200, "ok")
    assert not any(done)
    assert answered == {200}


def test_equal_scrapes_share_one_exposition():
    gate = Gate()
    with gate.serve(30) as pool:
        waiting = [pool.submit(gate.stage.get, "/metrics") for _ in range(30)]
        eventually(lambda: len(list(clients(gate.stage.url))) == THREADS + 30)
        gate.open()
        answers = {answer.result().body for answer in waiting}

    assert len(answers) == 1
    assert gate.begun.count("/metrics?") == 1


def test_nothing_is_done_for_clients_that_are_gone():
    """They make room in the queue for others, however many there were."""
    gate = Gate()
    with gate.serve(1) as pool:
        for number in range(5 * MAX_WAITING):
            with connect(gate.stage.url) as client:
                client.sendall(f"GET /metrics?name[]=gone{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        eventually(lambda: len(list(clients(gate.stage.url))) == THREADS)
        last = pool.submit(gate.stage.get, "/metrics?name[]=last")
        eventually(lambda: len(list(clients(gate.stage.url))) == THREADS + 1)
        gate.open()
        assert last.result().status == 200

    assert sorted(gate.begun) == [
        *(f"/metrics?name[]=first{number}" for number in range(THREADS)),
        "/metrics?name[]=last",
    ]


def test_slow_readers_of_different_bodies_do_not_fill_the_memory():
    """The oldest of them are closed. Those that share a body count once."""
    size, stage = MAX_SENDING // 4, Stage()

    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", str(size))])
        return [environ["QUERY_STRING"].encode() * size]

    with served(stage.dispatch(application)) as url, ExitStack() as stack:
        readers = []
        for number in range(8):
            readers.append(stack.enter_context(connect(url, receive=4096)))
            readers[-1].sendall(f"GET /big?{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert readers[-1].recv(12) == b"HTTP/1.1 200"
        eventually(lambda: len(list(clients(url))) == 4)
        held = {reader.getsockname()[1] for reader in readers[4:]}
        assert set(clients(url)) == held


def test_at_the_limit_the_oldest_connection_makes_room(stage):
    """One that waits for its request is closed, one that waits for its response gets 503."""
    gate = Gate()
    gate.keep = False
    with gate.serve(1) as pool, ExitStack() as stack:
        waiting = pool.submit(gate.stage.get, "/metrics?name[]=waiting")
        eventually(lambda: len(list(clients(gate.stage.url))) == THREADS + 1)
        idle = [stack.enter_context(connect(gate.stage.url)) for _ in range(MAX_CONNECTIONS)]
        assert gate.stage.get("/livez").status == 200
        refused = waiting.result()
        closed = [client for client in idle if not closed_by_server(client)]
        gate.open()

    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert 0 < len(closed) < MAX_CONNECTIONS


def closed_by_server(client):
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def test_checks_go_on_while_answers_are_given():
    """No reader holds a lock that a writer waits for."""
    stage, over, reading = Stage(), threading.Event(), []
    stage.show({"c0": "P"})
    real = stage.app()

    def held(environ, start_response):
        def start(*given):
            reading.append(given)
            assert over.wait(PATIENCE)
            return start_response(*given)

        return real(environ, start)

    with served(stage.dispatch(held)) as stage.url, ThreadPoolExecutor(THREADS + 1) as threads:
        try:
            asked = [threads.submit(stage.get, f"/metrics?name[]={number}") for number in range(THREADS)]
            eventually(lambda: len(reading) == THREADS, what="every thread of the server is in the middle of an answer")
            before = stage.store.snapshot().generation
            threads.submit(lambda: [stage.conclude("c0", PASS) for _ in range(200)]).result(PATIENCE / 2)
            after = stage.store.snapshot().generation
        finally:
            over.set()
        assert {answer.result().status for answer in asked} == {200}

    assert after - before == 200


def test_more_clients_than_the_process_may_have_files_is_survived(tmp_path):
    """The oldest of them make room, and once they are disconnected, everything works as before."""
    config = tmp_path / "health.yml"
    config.write_text("checks: [{name: ok, exec: {command: ['true']}, periodSeconds: 1}]\n")
    serve = f"{sys.executable} -m exporter serve --config.file {config} --web.listen-address 127.0.0.1:0"
    with ended(Process(["sh", "-c", f"ulimit -n 64; exec {serve} --shutdown-delay 0"])) as exporter:
        url = exporter.line(r"msg=listening address=(\S+)/").group(1)
        eventually(lambda: get(f"{url}/readyz").status == 200)
        with ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(connect(url)).sendall(b"GET /livez HTTP/1.1\r\n")

            eventually(lambda: quickly(f"{url}/livez") == 200)
        eventually(lambda: quickly(f"{url}/readyz") == 200)


def quickly(url):
    with suppress(OSError, http.client.HTTPException):
        return get(url, timeout=5).status
    return 0


def test_thousands_of_abandoned_scrapes_keep_nobody_waiting(tmp_path):
    """Each probe is answered in the meantime, the memory stays, and no connection is left."""
    config = tmp_path / "health.yml"
    checks = "".join(
        f"  - {{name: c{number}, exec: {{command: ['true']}}, periodSeconds: 3600}}\n" for number in range(200)
    )
    config.write_text(f"checks:\n{checks}")
    with ended(Exporter(config=config)) as exporter:
        eventually(lambda: exporter.get("/readyz").status == 200)
        exporter.get("/metrics")
        before, over = resident(exporter), threading.Event()
        with ThreadPoolExecutor(2) as threads:
            watches = [threads.submit(probe_until, over, exporter.url + path) for path in ("/livez", "/-/healthy")]
            for _ in range(4000):
                with connect(exporter.url) as client:
                    client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            eventually(lambda: not list(clients(exporter.url)), what="every connection is closed")
            over.set()
            statuses = [status for watch in watches for status in watch.result()]
        after = resident(exporter)

    assert set(statuses) == {200}
    assert after - before < 10 * 1024


def probe_until(over, url):
    statuses = []
    while not over.is_set():
        statuses.append(get(url).status)
    return statuses


def resident(exporter):
    """The memory of all processes of the exporter, in KiB."""
    return sum(process.memory_info().rss for process in list_processes(exporter)) // 1024
