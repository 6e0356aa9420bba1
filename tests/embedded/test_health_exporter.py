"""The exporter inside an application: decorated functions, the blueprint, any WSGI server, and forked workers."""

import os
import re
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import pytest
from flask import Flask, abort, g, jsonify, redirect
from support import PATIENCE, Process, eventually, get
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import BaseConverter
from werkzeug.test import Client

from exporter import HealthExporter, Measurement, Outcome, ProbeError, Reason
from exporter.config.checks import load
from exporter.config.complaint import ConfigError
from exporter.embedded.health_exporter import _reset
from exporter.kinds import kinds

EXAMPLE = Path(__file__).parents[1] / "example"
ROOT = Path(__file__).parents[2]
PATHS = {"/livez": "liveness", "/readyz": "readiness", "/startupz": "startup", "/healthz": "all"}
GROUPS = ("liveness", "readiness", "startup")


@pytest.fixture
def health():
    made = HealthExporter()
    yield made
    made.stop()


def watch(health, function, **options):
    """Register a function with a short period, in every group."""
    quick = {"name": "it", "period": 0.05, "timeout": 0.5, "failure_threshold": 1, "groups": GROUPS}
    health.check(**{**quick, **options})(function)


def seen(client, name="it", prefix=""):
    """The check's description in /healthz, once it has run."""

    def described():
        found = client.get(f"{prefix}/healthz?format=json").get_json(force=True)["checks"][name][0]
        return found if found["runs"] else None

    return eventually(described)


def metrics(client):
    return client.get("/metrics").get_data(as_text=True)


def raising(error):
    def function():
        raise error

    return function


MEANINGS = {
    "None": (lambda: None, "pass", None),
    "True": (lambda: True, "pass", None),
    "False": (lambda: False, "fail", "status"),
    "an Outcome": (lambda: Outcome.failed(Reason.DNS, "no such name"), "fail", "dns"),
    "an exception": (raising(ValueError("broken")), "fail", "error"),
    "an assertion": (raising(AssertionError("not so")), "fail", "error"),
    "a time limit of its own": (raising(TimeoutError("slow")), "fail", "timeout"),
    "a file that is not there": (raising(FileNotFoundError("gone")), "fail", "missing"),
    "the end of the process": (raising(SystemExit(0)), "fail", "error"),
    "could not look": (raising(ProbeError(Reason.CONNECT, "no way there")), "unknown", "connect"),
    "something else": (lambda: 0, "fail", "error"),
}


@pytest.mark.parametrize(("function", "status", "reason"), MEANINGS.values(), ids=MEANINGS)
def test_what_a_function_s_answer_means(health, function, status, reason):
    watch(health, function)
    last = seen(Client(health.wsgi))

    assert (last["lastStatus"], last.get("lastReason")) == (status, reason)


def test_a_function_stays_what_it_is(health):
    @health.check()
    def database():
        return True

    assert database() is True


def test_a_function_s_check_carries_its_name_place_kind_and_numbers(health):
    @health.check(period=0.05, severity="warning", groups=())
    def queue():
        return Outcome.measured("5 wait", Measurement("queue_waiting", 5, warn=4))

    client = Client(health.wsgi)
    seen(client, "queue")
    text = client.get("/metrics").text

    place = f"{__name__}.{queue.__qualname__}"
    assert f'health_check_info{{check="queue",kind="function",severity="warning",target="{place}"}} 1.0' in text
    assert 'health_queue_waiting{check="queue",kind="function"} 5.0' in text
    assert 'health_queue_waiting_limit{check="queue",kind="function",level="warn"} 4.0' in text


def test_a_function_may_take_the_deadline(health):
    given = []
    watch(health, lambda deadline: given.append(deadline.remaining()), timeout=0.5)
    seen(Client(health.wsgi))

    assert 0 < given[0] <= 0.5


def test_a_function_that_hangs_has_failed_at_its_deadline_and_is_called_once(health):
    """A liveness check detects a deadlock without accumulating threads."""
    over, calls = threading.Event(), []
    watch(health, lambda: (calls.append(1), over.wait(30))[0], timeout=0.2)
    client = Client(health.wsgi)
    eventually(lambda: client.get("/livez").status_code == 503)
    eventually(lambda: seen(client)["runs"] > 3)
    hung = seen(client), len(calls)
    over.set()
    eventually(lambda: client.get("/livez").status_code == 200)

    assert (hung[0]["lastReason"], hung[1]) == ("timeout", 1)


REFUSED = {
    "a name that is none": ({"name": "_private"}, "must be letters, digits"),
    "a group that is none": ({"groups": ("alive",)}, "groups"),
    "one text for the groups": ({"groups": "liveness"}, "groups"),
    "a severity that is none": ({"severity": "loud"}, "severity"),
    "no period": ({"period": 0}, "period must be greater than 0, not 0"),
    "an endless timeout": ({"timeout": float("inf")}, "timeout must be finite, not inf"),
    "no threshold": ({"failure_threshold": 0}, "failure_threshold must be at least 1"),
    "two successes for liveness": ({"groups": ("liveness",), "success_threshold": 2}, "success_threshold must be 1"),
}


@pytest.mark.parametrize(("options", "complaint"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_a_check_is_refused_at_the_decorator(health, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        health.check(**{"name": "it", **options})(lambda: True)


async def _coroutine():
    pass


@pytest.mark.parametrize(
    "function", [_coroutine, lambda one, two: None, lambda *, one: None], ids=["async", "two arguments", "a keyword"]
)
def test_a_function_that_cannot_be_called_so_is_refused_at_the_decorator(health, function):
    with pytest.raises(TypeError, match="a check"):
        health.check(name="it")(function)


def test_a_name_is_taken_once(health):
    watch(health, lambda: True)
    with pytest.raises(ValueError, match="'it' is already taken"):
        watch(health, lambda: True)


def test_a_check_is_suppressed_while_one_that_it_depends_on_fails(health):
    client = Client(health.wsgi)
    watch(health, lambda: False, name="database")
    watch(health, lambda: False, name="orders", depends_on=["database"])
    seen(client, "orders")

    assert eventually(lambda: 'health_check_suppressed{check="orders",kind="function"} 1.0' in metrics(client))


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["later"], "'it' depends on 'later', which does not exist yet: define it first"),
        ("it", "@health.check: depends_on: must be a list, not text of 2 characters"),
        ([5], r"@health.check: depends_on\[0\]: must be text, not a number"),
    ],
)
def test_what_a_check_depends_on_is_there_before_it(health, given, complaint):
    with pytest.raises(ValueError, match=complaint):
        watch(health, lambda: True, depends_on=given)


def test_a_check_may_come_when_others_run_already(health):
    client = Client(health.wsgi)
    watch(health, lambda: True, name="early")
    seen(client, "early")
    watch(health, lambda: False, name="late")

    assert seen(client, "late")["lastStatus"] == "fail"
    assert client.get("/readyz/early").status_code == 200


def test_no_file_can_name_the_kind_of_a_function(tmp_path):
    config = tmp_path / "health.yml"
    config.write_text("checks:\n- name: it\n  function: {}\n")

    assert "function" not in kinds()
    with pytest.raises(ConfigError):
        load(config)


def test_checks_of_a_file_stand_beside_functions(tmp_path):
    config = tmp_path / "health.yml"
    config.write_text(f"checks:\n- name: there\n  file: {{path: {config}}}\n")
    with HealthExporter(config=config) as health:
        watch(health, lambda: True)
        client = Client(health.wsgi)
        assert seen(client, "there")["componentType"] == "file"
        assert seen(client, "it")["componentType"] == "function"
        with pytest.raises(ValueError, match="'there' is already taken"):
            watch(health, lambda: True, name="there")


SIGCHLD_HANDLERS = {
    "ignored": "signal.SIG_IGN",
    "handled": "collect",
}
LOSING_APPLICATION = """
import os, signal, sys, threading, time
from exporter import HealthExporter
from werkzeug.test import Client
def collect(number, frame):
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:  # a thread of the exporter was faster
        pass
signal.signal(signal.SIGCHLD, {handler})
health = HealthExporter(sys.argv[1])
client = Client(health.wsgi)
while True:
    checks = client.get("/healthz?format=json").get_json()["checks"]
    if min(check[0]["runs"] for check in checks.values()) >= 3:
        print(*(check[0]["lastStatus"] for check in checks.values()))
        os._exit(0)
    time.sleep(0.05)
"""


@pytest.mark.parametrize("handler", SIGCHLD_HANDLERS.values(), ids=SIGCHLD_HANDLERS)
def test_an_application_that_collects_every_exit_status_gets_no_pass_for_a_failed_command(tmp_path, handler):
    (tmp_path / "health.yml").write_text(
        "checks:\n"
        "  - {name: no, exec: {command: [sh, -c, exit 3]}, periodSeconds: 1, timeoutSeconds: 60}\n"
        "  - {name: killed, exec: {command: [sh, -c, kill -9 $$$$]}, periodSeconds: 1, timeoutSeconds: 60}\n"
    )
    application = [sys.executable, "-c", LOSING_APPLICATION.format(handler=handler), str(tmp_path / "health.yml")]
    done = subprocess.run(application, capture_output=True, text=True, timeout=PATIENCE)

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 2
    assert set(done.stdout.split()) <= ({"unknown"} if "SIG_IGN" in handler else {"unknown", "fail"})


def test_a_bad_file_is_refused_at_once(tmp_path):
    (tmp_path / "health.yml").write_text("checks:\n- name: it\n  nonsense: {}\n")
    with pytest.raises(ConfigError, match=r"health.yml:\d"):
        HealthExporter(config=tmp_path / "health.yml")


# Life


def workers():
    return [thread for thread in threading.enumerate() if thread.name == "worker"]


def test_nothing_starts_before_it_is_asked(health):
    before, calls = workers(), []
    watch(health, lambda: calls.append(1))
    health.blueprint()

    assert workers() == before
    health.start()
    eventually(lambda: calls)


def test_after_stop_nothing_runs_and_readiness_is_false(health):
    before, calls = len(workers()), []
    watch(health, lambda: calls.append(1))
    client = Client(health.wsgi)
    with health:
        eventually(lambda: client.get("/readyz").status_code == 200)
    eventually(lambda: len(workers()) == before)
    there = len(calls)

    assert client.get("/readyz").status_code == 503
    assert client.get("/livez").status_code == 200
    assert len(calls) == there
    with pytest.raises(RuntimeError, match="cannot be started again"):
        health.start()


def test_a_forked_process_begins_anew(health):
    """Even if its parent had started: the parent's threads do not exist here, and its locks may be held forever."""
    calls = []
    watch(health, lambda: calls.append(os.getpid()))
    health.start()
    eventually(lambda: calls)
    receiver, sender = os.pipe()
    child = _fork()
    if child == 0:
        try:
            client = Client(health.wsgi)
            first = client.get("/readyz").status_code
            eventually(lambda: os.getpid() in calls and client.get("/readyz").status_code == 200)
            os.write(sender, f"{first} 200".encode())
        finally:
            os._exit(0)
    os.close(sender)
    with os.fdopen(receiver) as said:
        assert said.read() == "503 200"
    os.waitpid(child, 0)


def _fork():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point
        return os.fork()


@pytest.mark.parametrize("kind", kinds())
def test_a_probe_can_be_had_again_unused(kind, tmp_path):
    for number, example in enumerate(kinds()[kind].examples):
        config = tmp_path / f"{number}.yml"
        config.write_text("checks:\n" + example)
        (check,) = load(config).checks
        assert _reset(check.probe) == check.probe
        assert _reset(check.probe) is not check.probe


# In an application


@pytest.fixture
def app(health):
    """An application with the usual hooks."""
    app = Flask("shop")
    app.config["TRUSTED_HOSTS"] = ["shop.example"]
    watch(health, lambda: True)
    watch(health, lambda: False, name="bad", groups=("readiness",))
    app.register_blueprint(health.blueprint(), url_prefix="/health")
    health.init_app(app)

    @app.before_request
    def user():
        g.user = "somebody"

    @app.before_request
    def login():
        return redirect("/login")

    @app.after_request
    def sign(response):
        response.headers["Health-Generation"] = f"not a number, {g.user}"
        response.status_code = 418
        return response

    @app.teardown_request
    def count(_error):
        app.torn = getattr(app, "torn", 0) + 1

    @app.errorhandler(404)
    @app.errorhandler(Exception)
    def sorry(_error):
        return "sorry", 200

    return app


def there(client, prefix="/health"):
    """The client, once every check has run."""
    for name in ("it", "bad"):
        seen(client, name, prefix)
    return client


ANSWERS = {
    "/livez": (200, "ok"),
    "/readyz": (503, "[+]it ok\n[-]bad failed: status\nreadyz check failed\n"),
    "/readyz/bad": (503, "bad failed: status\n"),
    "/readyz?exclude=bad": (200, "ok"),
    "/livez/nobody": (404, "404 Not Found\nno check has this name; the checks of liveness are: it\n"),
    "/-/healthy": (200, "Health Exporter is healthy.\n"),
    "/-/ready": (200, "Health Exporter is ready.\n"),
}


@pytest.mark.parametrize("path", ANSWERS)
def test_nothing_that_an_application_does_to_its_requests_changes_an_answer(app, path):
    answer = there(app.test_client()).get(f"/health{path}")

    assert (answer.status_code, answer.text) == ANSWERS[path]
    assert int(answer.headers["Health-Generation"]) > 0
    assert getattr(app, "torn", 0) == 0


@pytest.mark.parametrize("host", ["shop.example", "10.0.0.7:8080", "a_b", "", "[::1]:80", "x y"])
def test_an_answer_does_not_depend_on_the_host(app, host):
    """The kubelet sends an address, and Werkzeug rejects some hosts."""
    answer = there(app.test_client()).get("/health/livez", headers={"Host": host})

    assert (answer.status_code, answer.text) == (200, "ok")


def plain(health=None, converted=None):
    """A small application, with or without the endpoints, that notes the calls of its converter."""

    class Word(BaseConverter):
        regex = "[a-z]+word"

        def to_python(self, value):
            if converted is not None:
                converted.append(value)
            return value

    app = Flask("plain")
    app.url_map.converters["word"] = Word

    @app.get("/")
    def index():
        return "the shop\n"

    @app.get("/<word:path>")
    def word(path):
        return path

    @app.route("/orders/", methods=["GET", "POST"])
    def orders():
        return jsonify([1])

    @app.get("/gone")
    def gone():
        abort(410)

    @app.get("/broken")
    def broken():
        raise ValueError

    @app.errorhandler(404)
    def lost(_error):
        return "lost", 404

    if health:
        app.register_blueprint(health.blueprint(), url_prefix="/health")
        health.init_app(app)
    return app


OTHERS = [
    ("GET", "/"),
    ("HEAD", "/"),
    ("POST", "/"),
    ("GET", "/password"),
    ("GET", "/orders"),
    ("OPTIONS", "/orders/"),
    ("POST", "/orders/"),
    ("GET", "/gone"),
    ("GET", "/broken"),
    ("GET", "/livez"),
    ("GET", "/metrics"),
    ("GET", "/healthy"),
]


@pytest.mark.parametrize(("method", "path"), OTHERS, ids=[f"{method} {path}" for method, path in OTHERS])
def test_the_application_s_other_answers_stay_as_they_were(health, method, path):
    calls, calls_before = [], []
    before = plain(None, calls_before).test_client().open(path, method=method)
    after = plain(health, calls).test_client().open(path, method=method)

    assert (after.status, after.data, list(after.headers)) == (before.status, before.data, list(before.headers))
    assert calls == calls_before  # a converter may ask a database


def test_an_application_s_earlier_route_keeps_its_path(health):
    app = Flask("own")
    app.add_url_rule("/", view_func=lambda: "the shop\n", endpoint="index")
    app.register_blueprint(health.blueprint())
    client = app.test_client()

    assert client.get("/").text == "the shop\n"
    assert client.get("/livez").text == "ok"


def test_a_prefix_with_a_variable_works():
    with HealthExporter() as health:
        watch(health, lambda: True)
        app = Flask("tenants")
        app.register_blueprint(health.blueprint(), url_prefix="/<tenant>/health")
        client = app.test_client()
        eventually(lambda: client.get("/one/health/livez/it").text == "ok")

        assert int(client.get("/two/health/metrics").headers["Health-Generation"]) > 0


@pytest.mark.parametrize("prefix", ["/health", "/a/b"])
@pytest.mark.parametrize("way", ["blueprint", "mounted"])
def test_the_page_links_to_where_it_is(health, prefix, way):
    app = Flask("linked")
    if way == "blueprint":
        app.register_blueprint(health.blueprint(), url_prefix=prefix)
        client = app.test_client()
    else:
        client = Client(DispatcherMiddleware(app, {prefix: health.wsgi}))
    links = re.findall(r'href="(/[^"]*)"', client.get(f"{prefix}/").text)

    assert len(links) >= 7
    assert {client.get(link).status_code for link in links} <= {200, 503}
    assert all("Health-Generation" in client.get(link).headers for link in links)


def test_init_app_begins_with_the_application_s_first_request(health):
    calls = []
    watch(health, lambda: calls.append(1))
    app = plain(health)

    assert not calls
    app.test_client().get("/")
    eventually(lambda: calls)


def test_two_answers_of_a_generation_tell_the_same_truth(app, health):
    """The probes and the metrics, requested concurrently while checks change their status."""
    watch(health, lambda: time.monotonic() % 0.2 < 0.1, name="fickle")
    client = there(app.test_client())
    told: dict[tuple[int, str], set[bool]] = {}
    until = time.monotonic() + 1
    while time.monotonic() < until:
        for path, group in PATHS.items():
            answer = client.get(f"/health{path}")
            told.setdefault((int(answer.headers["Health-Generation"]), group), set()).add(answer.status_code == 200)
        answer = client.get("/health/metrics")
        for group, up in re.findall(r'^health_group_up\{group="(\w+)"\} ([\d.]+)', answer.text, re.MULTILINE):
            told.setdefault((int(answer.headers["Health-Generation"]), group), set()).add(up == "1.0")

    assert all(len(truths) == 1 for truths in told.values())
    assert {next(iter(truths)) for (_, group), truths in told.items() if group == "liveness"} == {True, False}


# Under a real server


ACCESS_LOG = ("--access-logfile", "-", "--access-logformat", "worker=%(p)s path=%(U)s status=%(s)s")


@pytest.fixture
def gunicorn(tmp_path):
    """Start the example under gunicorn, whose access log names the worker; returns the process and its address."""
    stack = []

    def start(*flags):
        arguments = ["-m", "gunicorn", "-b", "127.0.0.1:0", "--no-control-socket", *ACCESS_LOG, *flags, "app:app"]
        process = Process([sys.executable, *arguments], {"APP_FOLDER": str(tmp_path)}, cwd=EXAMPLE)
        stack.append(process)
        return process, process.line(r"Listening at: (http://\S+)").group(1)

    yield start
    for process in stack:
        process.end()


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["each loads", "preload"])
@pytest.mark.parametrize("count", [1, 2])
def test_under_gunicorn_every_worker_evaluates_and_answers(gunicorn, tmp_path, count, preload):
    server, url = gunicorn("-w", str(count), *preload)

    def every_worker_gives(status):
        """Whether all workers returned this status last. Any of them may accept the next connection."""
        get(f"{url}/health/readyz")
        logged = re.findall(r"worker=\D*(\d+)\D* path=/health/readyz status=(\d+)", "\n".join(server.lines))
        return list(dict(logged).values()) == [str(status)] * count

    eventually(lambda: every_worker_gives(200), within=5 * PATIENCE)
    (tmp_path / "cold").touch()
    eventually(lambda: every_worker_gives(503), within=5 * PATIENCE)
    answers = [get(f"{url}/health{path}") for path in ("/livez", "/metrics", "/", "/healthz?format=json")]

    assert [answer.status for answer in answers] == [200, 200, 200, 503]
    assert all(answer.generation > 0 for answer in answers)
    assert get(f"{url}/").text == "the shop\n"


# The documentation


def snippets(page):
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def test_the_readme_s_application_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (snippet,) = snippets("README.md")
    made = {"__name__": "app"}
    exec(snippet, made)
    client = made["app"].test_client()
    with made["health"]:
        eventually(lambda: client.get("/health/readyz").status_code == 200)
        text = client.get("/health/metrics").text

    assert 'health_check_info{check="database",kind="function",severity="critical",target="app.database"} 1.0' in text


def test_the_guide_s_application_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = {"__name__": "app"}
    monkeypatch.setitem(sys.modules, "uwsgidecorators", SimpleNamespace(postfork=lambda function: function))
    for snippet in snippets("docs/library.md"):
        exec(snippet, made)
    monkeypatch.setitem(sys.modules, "app", SimpleNamespace(**made))
    made["post_worker_init"](None)
    client = Client(made["application"])
    with made["health"]:
        assert seen(client, "database", "/health")["status"] == "pass"
        assert seen(client, "orders", "/health")["lastReason"] == "missing"


# The door


def test_the_package_costs_nothing_until_something_of_it_is_used():
    script = "import sys, exporter; print(*(name for name in sys.modules if name.startswith(('exporter', 'typing'))))"
    said = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, cwd=ROOT).stdout

    assert said.split() == ["exporter"]


def test_the_package_gives_what_it_says_it_gives():
    import exporter

    assert all(getattr(exporter, name) is not None for name in exporter.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        exporter.nonsense  # noqa: B018


def test_a_user_s_types_are_checked(tmp_path):
    (tmp_path / "user.py").write_text(
        dedent("""
        from exporter import HealthExporter

        health = HealthExporter()

        @health.check(period=10, groups=("liveness",))
        def database() -> None: ...

        reveal_type(database)

        @health.check()
        def wrong() -> str:
            return "well"
        """)
    )
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache"), "user.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    ).stdout

    assert 'note: Revealed type is "def ()"' in checked
    assert re.search(r"user.py:11: error: Value of type variable .* cannot be", checked), checked


def test_a_check_that_waits_for_heartbeats_is_refused(tmp_path):
    config = tmp_path / "health.yml"
    config.write_text("checks: [{name: backup, heartbeat: {maxAgeSeconds: 60, token: {env: TOKEN}}}]")

    with pytest.raises(ValueError, match="backup waits for heartbeats, which only `health-exporter serve` receives"):
        HealthExporter(config)
