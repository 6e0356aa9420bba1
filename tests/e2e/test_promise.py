"""The promise: answers with the same generation never contradict each other.

Targets change as fast as possible while many clients request every endpoint and format. Afterwards the test extracts
the facts from all answers, and compares those of one generation.
"""

import http.client
import json
import random
import re
import socket
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import pytest
from make import FAIL, PASS, UNKNOWN, WARN, Scripted, in_groups
from stage import served
from support import PATIENCE, eventually

from exporter.evaluation.answered import AnswerLog
from exporter.evaluation.schedule import Schedule
from exporter.evaluation.store import Store
from exporter.kinds.exec import Exec
from exporter.kinds.http_get import HttpGet
from exporter.kinds.load_average import LoadAverage
from exporter.kinds.tcp_socket import TcpSocket
from exporter.model import SLACK, Deadline, Group, Outcome, Spec
from exporter.probe.check import Check
from exporter.server.answers import AnswerCounter
from exporter.server.dispatch import MAX_WAITING, THREADS, Dispatcher
from exporter.server.exposition import Exposition
from exporter.server.probes import PROBE_PATHS, Probes
from exporter.server.routes import create_app
from exporter.server.threads import Threads

ASKED = (
    *(f"{path}{form}" for path in PROBE_PATHS for form in ("", "?verbose", "?format=json", "/http", "/moody1")),
    *("/metrics", "/metrics?openmetrics", "/") * 3,
)
HEALTHY = ("pass", "warn")


# Targets that change all the time


class Restless(LoadAverage):
    """The kind loadAverage on a machine whose load jumps."""

    def probe(self, deadline: Deadline) -> Outcome:
        return super().probe(deadline, lambda: (random.uniform(0, 2), 1.0, 1.0), lambda: 1)


def moody(deadline: Deadline) -> Outcome:
    return random.choice([PASS, PASS, WARN, FAIL, UNKNOWN])


@contextmanager
def flipping(act):
    """Call this function repeatedly until the end of the block."""
    over = threading.Event()

    def flip():
        while not over.wait(0.01):
            act()

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def web_server():
    """Respond at random with 200, 500, nonsense or nothing; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with suppress(OSError):
                client, _ = server.accept()
                with client:
                    client.recv(4096)
                    status = random.choice([b"200 OK", b"200 OK", b"500 No", b"nonsense", b""])
                    client.sendall(status and b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

        def serve():
            while server.fileno() != -1:
                answer()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join()


class Door:
    """A TCP port that is open only some of the time."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]

    def flip(self):
        if self.server.fileno() != -1:
            self.shut()
            return
        with suppress(OSError):  # somebody's outgoing connection has the port for now
            self.server = socket.create_server(("127.0.0.1", self.port))

    def shut(self):
        self.server.close()


def flip_file(path):
    path.unlink() if path.exists() else path.touch()


def flip_hold(store):
    """Suspend restarts every now and then, for a short time."""
    if random.random() < 0.05:
        store.hold(0.1, "x")
    elif random.random() < 0.05:
        store.release()


def watched(stack: ExitStack, folder) -> list[Check]:
    """Checks of real targets, each at a pace and with thresholds of its own."""
    port, door, file = stack.enter_context(web_server()), Door(), folder / "flag"
    stack.callback(door.shut)
    stack.enter_context(flipping(door.flip))
    stack.enter_context(flipping(lambda: flip_file(file)))
    probes = {
        "http": (HttpGet(port=port), "httpGet", 0.03, 2),
        "tcp": (TcpSocket(port=door.port), "tcpSocket", 0.02, 1),
        "exec": (Exec(command=("test", "-e", str(file))), "exec", 0.1, 1),
        "load": (Restless(warn_ratio=0.5), "loadAverage", 0.02, 1),
        **{f"moody{number}": (Scripted(does=moody), "scripted", 0.03 + number / 100, number) for number in range(1, 4)},
    }
    checks = [
        Check(Spec(name, kind, groups=groups(name), period=period, timeout=1, failure_threshold=failures), probe)
        for name, (probe, kind, period, failures) in probes.items()
    ]
    stale = Spec("rare", "scripted", groups=groups("rare"), period=0.2, timeout=0.05, stale_after=0.07 - SLACK)
    return [*checks, Check(stale, Scripted(does=PASS))]


def groups(name):
    return {
        "http": in_groups(Group.LIVENESS, Group.READINESS),
        "moody1": in_groups(*Group),
        "load": in_groups(Group.LIVENESS),
        "exec": in_groups(Group.READINESS),
        "rare": in_groups(Group.STARTUP),
    }.get(name, in_groups())


# Asking


@dataclass
class Answer:
    asked: str
    status: int
    generation: int
    body: bytes


@dataclass
class Hammer:
    """Sends requests to one address until it is stopped."""

    url: str
    over: threading.Event = field(default_factory=threading.Event)
    answers: list[Answer] = field(default_factory=list)

    def ask(self, number: int) -> None:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=PATIENCE)
        order = random.Random(number)
        while not self.over.is_set():
            asked = order.choice(ASKED)
            accept = "application/openmetrics-text" if "openmetrics" in asked else "*/*"
            try:
                connection.request("GET", asked, headers={"Accept": accept})
                response = connection.getresponse()
            except http.client.RemoteDisconnected:  # after its thousandth answer
                connection.close()
                continue
            generation = int(response.headers["Health-Generation"])
            self.answers.append(Answer(asked, response.status, generation, response.read()))
        connection.close()

    def wait(self, seconds: float, count: int) -> None:
        """Continue for this time, and on a busy machine for longer: until this many more answers have arrived."""
        before = len(self.answers)
        time.sleep(seconds)
        eventually(lambda: len(self.answers) - before >= count, what=f"{count} answers")


def hammered(folder, seconds, lie=None, clients=8):
    """All answers from that time, and the first generation in which the exporter was draining."""
    with ExitStack() as stack:
        store = Store()
        schedule = Schedule(store)
        stack.callback(schedule.stop)
        schedule.replace(store.configure(watched(stack, folder)))
        stack.enter_context(flipping(lambda: flip_hold(store)))
        counter = AnswerCounter()
        probes = Probes(store, counter, schedule.vitals)
        app = create_app(
            store, probes, Exposition(store, counter, schedule.vitals), schedule.vitals, AnswerLog()
        ).wsgi_app
        dispatch = Dispatcher(store, probes, Threads(THREADS, MAX_WAITING, "web"), app)
        hammer = Hammer(stack.enter_context(served(Liar(dispatch, lie(store)) if lie else dispatch)))
        with ThreadPoolExecutor(clients) as threads:
            asking = [threads.submit(hammer.ask, number) for number in range(clients)]
            try:
                hammer.wait(seconds * 2 / 3, 150 * seconds)
                store.drain()
                drained = store.snapshot().generation
                hammer.wait(seconds / 3, 75 * seconds)
            finally:
                hammer.over.set()
            for client in asking:
                client.result()
            return hammer.answers, drained


# Facts


def facts(answer):
    """The facts in an answer, as (subject, value) pairs in words that all kinds of answers share."""
    path, _, query = answer.asked.partition("?")
    if path == "/metrics":
        yield from facts_of_metrics(answer)
    elif path == "/":
        yield from facts_of_page(answer)
    elif path not in PROBE_PATHS:
        _, root, name = path.split("/")
        group, held = PROBE_PATHS[f"/{root}"], b"[+]hold " in answer.body
        yield (name, "satisfies", group), b" failed: " not in answer.body if held else answer.status == 200
        if group is Group.LIVENESS:
            yield "held", held
    else:
        yield ("up", PROBE_PATHS[path]), answer.status == 200
        if path == "/livez":
            yield "held", b'"hold"' in answer.body or b"[+]hold " in answer.body
        yield from facts_of_document(answer) if "json" in query else facts_of_lines(answer, PROBE_PATHS[path])


def facts_of_lines(answer, group):
    for sign, name in re.findall(r"^\[([-+])\](\S+) ", answer.body.decode(), re.MULTILINE):
        if name == "shutdown":
            yield "draining", True
        elif name != "hold":
            yield (name, "satisfies", group), sign == "+"


def facts_of_document(answer):
    document = json.loads(answer.body)
    yield "generation", document["generation"]
    yield ("up", document["group"]), document["status"] != "fail"
    if document["group"] == "readiness":
        yield "draining", "notes" in document
    for name, (check,) in document["checks"].items():
        yield (name, "status"), check["status"]
        yield (name, "runs"), check["runs"]
        yield (name, "failures"), check["failures"]
        yield (name, "in a row"), check["consecutiveFailures"]
        yield (name, "last up"), check["lastStatus"] in HEALTHY if "lastStatus" in check else None
        yield (name, "last reason"), check.get("lastReason")
        yield (name, "since"), check.get("since")
        yield (name, "measured"), dict(check["measurements"])
        yield from derived(name, check["status"], check["groups"])


def derived(name, status, member_of):
    """The facts that follow from a status."""
    yield (name, "up"), status in HEALTHY
    for group in member_of:
        yield (name, "satisfies", group), status in HEALTHY or (group, status) == ("liveness", "unknown")


SAMPLE = re.compile(r"^(health_\w+?)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


def facts_of_metrics(answer):
    families = defaultdict(dict)
    for family, labels, value in SAMPLE.findall(answer.body.decode()):
        pairs = dict(LABEL.findall(labels))
        families[family][pairs.get("check", ""), *(pairs.get(each) for each in ("reason", "status", "group"))] = float(
            value
        )
    yield "generation", families["health_snapshot_generation"]["", None, None, None]
    yield "held", "health_group_hold_expiry_timestamp_seconds" in families
    for group in set(PROBE_PATHS.values()):  # a group without checks is up and has no series
        yield ("up", group), bool(families["health_group_up"].get(("", None, None, group), True))
    for (name, *_), runs in families["health_check_runs_total"].items():
        (status,) = [key[2] for key in families["health_check_status"] if key[0] == name]
        yield (name, "status"), status
        yield (name, "up"), bool(families["health_check_up"][name, None, None, None])
        yield (name, "runs"), runs
        yield (
            (name, "failures"),
            sum(value for key, value in families["health_check_failures_total"].items() if key[0] == name),
        )
        yield (name, "in a row"), families["health_check_consecutive_failures"].get((name, None, None, None), 0)
        last_up = families["health_check_last_up"].get((name, None, None, None))
        yield (name, "last up"), None if last_up is None else bool(last_up)
        reasons = [key[1] for key in families["health_check_reason"] if key[0] == name]
        assert len(reasons) <= 1
        yield (name, "last reason"), reasons[0] if reasons else None
        member_of = [key[3] for key in families["health_check_group"] if key[0] == name]
        yield from derived(name, status, ["all", *member_of])


def facts_of_page(answer):
    text = answer.body.decode()
    yield "generation", int(re.search(r"generation (\d+),", text)[1])
    yield "held", "Restarts are suspended:" in text
    for path, word in re.findall(r'<a href="(/\w+)\?verbose">.*?<strong>(\w+)', text, re.DOTALL):
        yield ("up", PROBE_PATHS[path]), word == "200"
    for name, status in re.findall(r'<li id="check-(\S+)" class="(\w+)">', text):
        yield (name, "status"), status
        yield (name, "up"), status in HEALTHY


def kind(asked):
    """The renderer that made the answer."""
    path, _, query = asked.partition("?")
    return (
        "document"
        if query == "format=json"
        else "lines"
        if path in PROBE_PATHS
        else path
        if path in ("/metrics", "/")
        else "one"
    )


def contradictions(answers):
    """The facts in which answers of one generation differ, and the number of generations that several kinds showed."""
    told = defaultdict(lambda: defaultdict(dict))
    kinds = defaultdict(set)
    for answer in answers:
        kinds[answer.generation].add(kind(answer.asked))
        for subject, value in (("generation", answer.generation), *facts(answer)):
            told[answer.generation][subject].setdefault(plain(value), answer.asked)
    found = [
        (generation, subject, values)
        for generation, subjects in told.items()
        for subject, values in subjects.items()
        if len(values) > 1
    ]
    return found, sum(len(each) > 1 for each in kinds.values()), told


def plain(value):
    """A value as text; 4 is 4.0."""
    return repr(float(value) if isinstance(value, int) and not isinstance(value, bool) else value)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    answers, drained = hammered(tmp_path_factory.mktemp("promise"), seconds=5)
    return answers, drained, *contradictions(answers)


def test_answers_of_one_generation_never_contradict_each_other(told):
    answers, _, found, shared, _ = told

    assert found == []
    assert len(answers) > 1000
    assert shared > 100, "too few generations were seen twice for this to mean anything"


def test_everything_was_seen(told):
    """All paths, each status, both verdicts of every group, staleness and draining."""
    answers, _, _, _, by_generation = told
    values = defaultdict(set)
    for subjects in by_generation.values():
        for subject, seen in subjects.items():
            values[subject if isinstance(subject, str) else subject[1:] if len(subject) == 2 else ()].update(seen)
            if subject == ("rare", "status"):
                values["rare"].update(seen)

    assert {answer.asked for answer in answers} == set(ASKED)
    assert values["status",] == {"'pass'", "'warn'", "'fail'", "'unknown'"}
    for group in (Group.LIVENESS, Group.READINESS, Group.STARTUP):
        assert values[group,] == {"True", "False"}
    assert values["rare"] == {"'pass'", "'unknown'"}
    assert values["draining"] == values["held"] == {"True", "False"}


def test_readiness_is_false_from_draining_on_and_nothing_else_is_because_of_it(told):
    answers, drained, *_ = told
    after = [answer for answer in answers if answer.generation >= drained]

    assert {answer.status for answer in after if answer.asked.startswith("/readyz?") or answer.asked == "/readyz"} == {
        503
    }
    assert {answer.status for answer in after if answer.asked == "/readyz/http"} == {200, 503}
    for path in ("/livez", "/startupz", "/healthz"):
        assert 200 in {answer.status for answer in after if answer.asked.startswith(path)}


def test_generations_only_grow_and_counters_with_them(told):
    """A failure is also a run, and no counter ever decreases."""
    _, _, _, _, by_generation = told
    for name in ("http", "tcp", "exec", "load", "moody1"):
        before = (0.0, 0.0)
        for generation in sorted(by_generation):
            subjects = by_generation[generation]
            if (name, "runs") not in subjects:
                continue
            runs, failures = (float(next(iter(subjects[name, what]))) for what in ("runs", "failures"))
            assert runs >= before[0]
            assert 0 <= failures - before[1] <= runs - before[0]
            before = runs, failures
        assert before[0] > 10
        assert 0 < before[1] < before[0]


# The hammer finds a lie


class Liar:
    """Changes the responses of a Dispatcher."""

    def __init__(self, dispatch, lie):
        self.dispatch, self.lie = dispatch, lie

    def __getattr__(self, name):
        return getattr(self.dispatch, name)

    def receive(self, connection, request):
        self.dispatch.receive(LiedTo(connection, lambda response: self.lie(request, response)), request)


class LiedTo:
    """A connection whose response is changed before it is sent."""

    def __init__(self, connection, change):
        self.connection, self.change = connection, change

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def respond(self, response):
        self.connection.respond(self.change(response))


def header_too_late(store):
    """The generation is read after the answer has been made."""

    def lie(_request, response):
        later = str(store.snapshot().generation)
        headers = [(name, later if name == "Health-Generation" else value) for name, value in response.headers]
        return replace(response, headers=headers)

    return lie


def verdict_of_yesterday(_store):
    """The status code of /livez is that of the previous answer."""
    codes = [200]

    def lie(request, response):
        if request.path != "/livez":
            return response
        codes.append(response.status)
        return replace(response, status=codes.pop(0))

    return lie


@pytest.mark.parametrize("lie", [header_too_late, verdict_of_yesterday])
def test_a_lie_is_found(tmp_path, lie):
    answers, _ = hammered(tmp_path, seconds=2, lie=lie)

    found, *_ = contradictions(answers)

    assert found
