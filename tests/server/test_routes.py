"""The HTTP surface over real sockets: paths, methods, negotiation, and the headers of every answer."""

import gzip
import json
import threading

import pytest
from accept_headers import GARBAGE, PROMETHEUS_3, VALID
from hypothesis import example, given, settings
from hypothesis import strategies as st
from make import FAIL, PASS, check, in_groups
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from stage import Stage, exchange, served
from support import get

from exporter.model import Group, Measurement, Outcome, Reason, Vitals
from exporter.render.metrics import OPEN_METRICS, TEXT
from exporter.server.negotiation import HEALTH_JSON
from exporter.server.probes import PROBE_PATHS
from exporter.server.users import CHALLENGE

PLAIN = "text/plain; charset=utf-8"
PROBES = [*PROBE_PATHS, *(f"{path}/api" for path in PROBE_PATHS), "/-/healthy", "/-/ready"]
EVERY = [*PROBES, "/", "/metrics"]


@pytest.fixture(scope="module")
def stage():
    """One application for the whole file; a test begins by setting its checks."""
    made = Stage()
    with served(made.dispatch()) as made.url:
        yield made


# The Kubernetes apiserver's grammar (k8s.io/apiserver pkg/server/healthz), with 503 for its 500.

GRAMMAR = {
    "all pass": ({"ping": "P", "bad": "P"}, "/livez", 200, "ok"),
    "all pass, verbose": (
        {"ping": "P", "log": "P"},
        "/livez?verbose",
        200,
        "[+]ping ok\n[+]log ok\nlivez check passed\n",
    ),
    "verbose is a presence test": ({"ping": "P"}, "/livez?verbose=false", 200, "[+]ping ok\nlivez check passed\n"),
    "one fails": (
        {"ping": "P", "bad": "F"},
        "/livez",
        503,
        "[+]ping ok\n[-]bad failed: connect\nlivez check failed\n",
    ),
    "one fails, verbose": (
        {"ping": "P", "bad": "F"},
        "/livez?verbose",
        503,
        "[+]ping ok\n[-]bad failed: connect\nlivez check failed\n",
    ),
    "the order is the configuration's": (
        {"z": "F", "a": "F", "m": "P"},
        "/healthz",
        503,
        "[-]z failed: connect\n[-]a failed: connect\n[+]m ok\nhealthz check failed\n",
    ),
    "excluded": ({"ping": "P", "bad": "F"}, "/livez?exclude=bad", 200, "ok"),
    "excluded, verbose": (
        {"ping": "P", "bad": "F"},
        "/livez?exclude=bad&verbose",
        200,
        "[+]ping ok\n[+]bad excluded: ok\nlivez check passed\n",
    ),
    "excluded repeatedly": ({"x": "F", "y": "F", "z": "P"}, "/readyz?exclude=x&exclude=y&exclude=x", 200, "ok"),
    "a comma does not split": (
        {"x": "F", "y": "F"},
        "/readyz?exclude=x,y",
        503,
        (
            "[-]x failed: connect\n[-]y failed: connect\n"
            'warn: some health checks cannot be excluded: no matches for "x,y"\nreadyz check failed\n'
        ),
    ),
    "one of two excluded": (
        {"x": "F", "y": "F"},
        "/readyz?exclude=x",
        503,
        "[+]x excluded: ok\n[-]y failed: connect\nreadyz check failed\n",
    ),
    "unknown name excluded": ({"ping": "P"}, "/livez?exclude=nope", 200, "ok"),
    "unknown name excluded, verbose": (
        {"ping": "P"},
        "/livez?exclude=nope&verbose",
        200,
        '[+]ping ok\nwarn: some health checks cannot be excluded: no matches for "nope"\nlivez check passed\n',
    ),
    "unknown names are sorted, quoted and told once": (
        {"ping": "P"},
        "/livez?exclude=b&exclude=a%22&exclude=b&exclude=%C3%A9&exclude=&verbose",
        200,
        (
            '[+]ping ok\nwarn: some health checks cannot be excluded: no matches for "","a\\"","b","é"\n'
            "livez check passed\n"
        ),
    ),
    "one check passes": ({"ping": "P", "bad": "F"}, "/livez/ping", 200, "ok"),
    "one check fails": ({"ping": "P", "bad": "F"}, "/livez/bad", 503, "bad failed: connect\n"),
    "exclude and verbose mean nothing for one check": (
        {"bad": "F"},
        "/livez/bad?exclude=bad&verbose",
        503,
        "bad failed: connect\n",
    ),
    "no checks": ({}, "/readyz", 200, "ok"),
    "no checks, verbose": ({}, "/readyz?verbose", 200, "readyz check passed\n"),
    "warn is healthy": ({"disk": "W"}, "/readyz?verbose", 200, "[+]disk ok: warn, threshold\nreadyz check passed\n"),
    "unknown is alive": ({"x": ""}, "/livez", 200, "ok"),
    "unknown is alive, verbose": (
        {"y": "U"},
        "/livez?verbose",
        200,
        "[+]y ok: unknown, error\nlivez check passed\n",
    ),
    "one unknown check is alive": ({"x": ""}, "/livez/x", 200, "ok"),
    "unknown is not ready": ({"x": ""}, "/readyz", 503, "[-]x failed: pending\nreadyz check failed\n"),
    "one unknown check is not ready": ({"x": ""}, "/readyz/x", 503, "x failed: pending\n"),
    "unknown has not started": ({"x": "U"}, "/startupz", 503, "[-]x failed: error\nstartupz check failed\n"),
    "unknown is not healthy": ({"x": "U"}, "/healthz", 503, "[-]x failed: error\nhealthz check failed\n"),
}


@pytest.mark.parametrize("case", GRAMMAR)
def test_the_grammar_is_the_apiservers(stage, case):
    shown, path, status, body = GRAMMAR[case]
    stage.show(shown)

    answer = stage.get(path)

    assert (answer.status, answer.text) == (status, body)
    assert answer.headers["Content-Type"] == PLAIN


@pytest.mark.parametrize("path", PROBE_PATHS)
def test_a_groups_path_lists_only_its_own_checks(stage, path):
    group = PROBE_PATHS[path]
    stage.watch(check("in", groups=in_groups(group), failure_threshold=1), check("out", groups=frozenset()))
    stage.conclude("in", FAIL)
    stage.conclude("out", PASS)

    listed = stage.get(path).text.splitlines()[:-1]

    assert listed == ["[-]in failed: connect"] + ["[+]out ok"] * (group is Group.ALL)


@pytest.mark.parametrize(
    "path", ["/livez/nope", "/livez/", "/livez/out", "/readyz/in/", "/readyz/in/more", "/startupz/in", "/healthz/"]
)
def test_a_check_outside_the_group_is_404(stage, path):
    stage.watch(check("in", groups=in_groups(Group.READINESS)), check("out", groups=in_groups(Group.READINESS)))

    assert stage.get(path).status == 404


def test_every_check_is_in_healthz(stage):
    stage.show({"only": "P"}, Group.ALL)

    assert stage.get("/healthz/only").text == "ok"
    assert stage.get("/readyz/only").status == 404


def test_without_a_configuration_only_liveness_is_true(stage):
    """Whatever check a probe asks for, the configuration may yet have it: a 404 would restart the application."""
    stage.show({"api": "P"})
    stage.store.degrade()
    paths = [*PROBE_PATHS, *(f"{path}/{name}" for path in PROBE_PATHS for name in ("api", "other"))]
    answers = {path: stage.get(path) for path in paths}
    document = json.loads(stage.get("/readyz?format=json").body)

    assert {path for path, answer in answers.items() if answer.status == 200} == {
        "/livez",
        "/livez/api",
        "/livez/other",
    }
    assert {answer.status for answer in answers.values()} == {200, 503}
    assert answers["/livez"].text == answers["/livez/api"].text == "ok"
    assert answers["/readyz"].text == "[-]configuration failed: not loaded\nreadyz check failed\n"
    assert answers["/readyz/api"].text == "the configuration is not loaded\n"
    assert (document["status"], document["notes"]) == ("fail", ["the configuration is not loaded"])
    assert stage.get("/readyz?exclude=configuration").status == 503
    assert [stage.get(path).status for path in ("/livez/", "/livez/a/b", "/-/healthy", "/-/ready")] == [
        404,
        404,
        200,
        503,
    ]

    stage.show({"api": "P"})
    assert [stage.get(path).status for path in ("/readyz", "/livez/other", "/-/ready")] == [200, 404, 200]


def test_draining_affects_readiness_only():
    stage = Stage()
    with served(stage.dispatch()) as stage.url:
        stage.show({"api": "P"})
        stage.store.drain()
        ready, one = stage.get("/readyz"), stage.get("/readyz/api")
        others = {path: stage.get(path).text for path in ("/livez", "/startupz", "/healthz")}
        document = json.loads(stage.get("/readyz?format=json").body)
        own = stage.get("/-/ready").status, stage.get("/-/healthy").status
        excluded = stage.get("/readyz?exclude=shutdown").status

    assert (ready.status, ready.text) == (
        503,
        "[+]api ok\n[-]shutdown failed: shutting down\nreadyz check failed\n",
    )
    assert one.status == 200
    assert set(others.values()) == {"ok"}
    assert (document["status"], document["notes"]) == ("fail", ["shutting down"])
    assert own == (503, 200)
    assert excluded == 503


# health+json


@pytest.mark.parametrize("path", PROBE_PATHS)
def test_json_shows_the_same_verdict(stage, path):
    stage.show({"api": "P", "bad": "F"})

    answer = stage.get(f"{path}?format=json")

    document = json.loads(answer.body)
    assert answer.status == 503
    assert answer.headers["Content-Type"] == HEALTH_JSON
    assert document["status"] == "fail"
    assert document["group"] == PROBE_PATHS[path]
    assert document["generation"] == answer.generation
    assert {name: checks[0]["status"] for name, checks in document["checks"].items()} == {"api": "pass", "bad": "fail"}


@pytest.mark.parametrize(
    ("accept", "path", "json_"),
    [
        ("", "/livez", False),
        ("*/*", "/livez", False),
        (HEALTH_JSON, "/livez", True),
        ("application/json", "/livez", True),
        ("text/plain", "/livez?format=json", True),
        ("application/json", "/livez?format=text", False),
        ("application/json", "/livez?format=", False),
    ],
)
def test_accept_or_format_chooses_the_form(stage, accept, path, json_):
    stage.show({"api": "P"})

    answer = stage.get(path, Accept=accept) if accept else stage.get(path)

    assert answer.headers["Content-Type"] == (HEALTH_JSON if json_ else PLAIN)
    assert (answer.body == b"ok") != json_


def test_an_excluded_check_does_not_count_in_json_either(stage):
    stage.show({"bad": "F"})

    answer = stage.get("/livez?format=json&exclude=bad")

    assert (answer.status, json.loads(answer.body)["status"]) == (200, "pass")


# What is on every answer


def seen(answer):
    return {name.lower(): value for name, value in answer.headers.items() if name.lower() != "date"}


@pytest.mark.parametrize("path", [*EVERY, "/nope", "/livez/nope"])
def test_head_is_get_without_the_body(stage, path):
    """Except /metrics, whose process metrics change between the two requests."""
    stage.show({"api": "F"})
    full, head = stage.get(path), stage.get(path, "HEAD")

    assert head.status == full.status
    assert head.body == b""
    if path != "/metrics":
        assert seen(head) == seen(full)
    assert seen(head).keys() == seen(full).keys()


@pytest.mark.parametrize("path", [*EVERY, "/nope", "//livez", "/livez/nope", "/-/reload"])
def test_every_answer_has_the_common_headers(stage, path):
    stage.show({"api": "F"})

    for method in ("GET", "HEAD", "POST", "DELETE"):
        answer = stage.get(path, method)
        assert answer.generation == stage.store.snapshot().generation
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_other_methods_are_refused_with_the_allowed_ones(stage):
    stage.show({"api": "P"})
    refused = (405, "GET, HEAD", "405 Method Not Allowed\n")

    wrong = {}
    for path in EVERY:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"):
            answer = stage.get(path, method)
            if (answer.status, answer.headers["Allow"], answer.text) != refused:
                wrong[method, path] = answer

    assert wrong == {}


@pytest.mark.parametrize(
    "target",
    [
        "//livez",
        "/livez/",
        "/livez//",
        "/livez//api",
        "/livez/api/",
        "///",
        "//",
        "/./livez",
        "/a/../livez",
        "/%2flivez",
        "/livez%2f",
        "/livez%00",
        "/livez%0d%0aX:%20y",
        "/LIVEZ",
        "/livez;x=y",
        "/livez#x",
        "/livez%3fverbose",
        "/metrics/",
        "/-/healthy/",
        "/-//healthy",
        "/\\livez",
        "/livez/%2e%2e/metrics",
        "/" + "a" * 8192,
        "/livez/" + "a" * 8192,
        "http://evil.example//",
        "?",
        "?verbose",
        "*",
        "livez",
        "evil.example:80",
    ],
)
def test_a_path_matches_exactly_or_is_404(stage, target):
    stage.show({"api": "P"})

    answer = exchange(stage.url, f"GET {target} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 404 "), answer
    assert b"evil.example" not in answer


def test_a_whole_url_is_accepted_as_the_target(stage):
    stage.show({"api": "P"})

    answer = exchange(stage.url, b"GET http://exporter/livez?verbose HTTP/1.1\r\nHost: exporter\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"livez check passed\n")


PIECES = st.sampled_from(
    ["/", "//", "livez", "readyz", "metrics", "-", "api", ".", "..", "%2f", "%2e", "%00", "%ff", ";", "\\"]
)
TARGETS = st.lists(PIECES, max_size=8).map("".join) | st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40
)


@settings(max_examples=100)
@given(target=TARGETS, method=st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "CONNECT"]))
@example(target="", method="GET")
def test_no_answer_is_a_redirect(stage, target, method):
    """The kubelet treats a redirect to another host as success."""
    request = f"{method} /{target} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"

    status = int(exchange(stage.url, request.encode()).split(b" ")[1])

    assert status in (200, 404, 405, 503)


@pytest.mark.parametrize("host", [b"a..b", b"a" * 70, b"[::1]:80", b"\xff\xfe", b"a b/c", b"evil.example:99999", b"-"])
def test_the_host_header_decides_nothing(stage, host):
    stage.show({"api": "P"})

    answer = exchange(stage.url, b"GET /livez HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize("path", ["/", "/healthz?verbose", "/healthz?format=json", "/metrics", "/healthz/x"])
def test_hostile_text_is_escaped(stage, path):
    """No renderer relies on the validation of the configuration."""
    evil = '<script>alert("1")</script>\r\nX: y\0'
    stage.watch(check(evil, target=evil, failure_threshold=1))
    stage.conclude(evil, Outcome.failed(Reason.BODY, evil, Measurement("evil", 1)))

    answer = stage.get(path)

    assert answer.headers["X"] is None
    if path == "/":
        assert "<script>alert" not in answer.text
        assert "&lt;script&gt;" in answer.text
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    else:
        assert not [line for line in answer.text.split("\n") if line.startswith("X: y")]


def test_no_answer_repeats_the_request(stage):
    stage.show({"api": "P"})

    for path in ("/<script>", "/livez/<script>"):
        assert "script" not in stage.get(path, X_Forwarded_Host="script").text


# The exporter's own paths


@pytest.mark.parametrize(("running", "status", "text"), [(True, 200, ""), (False, 503, "not ")])
def test_healthy_is_about_the_exporter_itself(stage, running, status, text):
    stage.show({"api": "F"})
    stage.vitals = Vitals(running)
    answer = stage.get("/-/healthy")
    stage.vitals = Vitals(running=True)

    assert (answer.status, answer.text) == (status, f"Health Exporter is {text}healthy.\n")


def test_reloading_by_http_is_off(stage):
    assert stage.get("/-/reload", "POST").status == 403
    refused = stage.get("/-/reload")
    assert (refused.status, refused.headers["Allow"]) == (405, "POST, PUT")


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_reloading_by_http_reports_the_result(method):
    stage, wrong = Stage(), [None, "health.yml:1: not YAML"]
    with served(stage.dispatch(reload=lambda: wrong.pop(0))) as stage.url:
        good, bad = stage.get("/-/reload", method), stage.get("/-/reload", method)
        refused = stage.get("/-/reload")

    assert (good.status, good.text) == (200, "")
    assert (bad.status, bad.text) == (
        500,
        "failed to reload the configuration; keeping the previous one:\nhealth.yml:1: not YAML\n",
    )
    assert refused.status == 405


def test_an_exception_is_a_500_without_details():
    stage = Stage()

    def broken():
        raise RuntimeError("secret")

    with served(stage.dispatch(reload=broken)) as stage.url:
        answer = stage.get("/-/reload", "POST")
        alive = stage.get("/livez").status

    assert (answer.status, answer.text) == (500, "500 Internal Server Error\n")
    assert answer.generation == stage.store.snapshot().generation
    assert alive == 200


# Passwords


class Guard:
    """Knows one right header. Every other is wrong, or right after bcrypt, or one too many."""

    RIGHT = b"Basic w6k6cDp3"

    def check(self, header):
        return None if header and header.startswith(b"Later ") else header == self.RIGHT

    def verify(self, header, peer, done, gone):
        assert peer == "127.0.0.1"
        assert not gone()
        outcome = {b"Later yes": True, b"Later no": False}.get(header)
        threading.Thread(target=done, args=(outcome,)).start()


@pytest.fixture(scope="module")
def guarded():
    stage = Stage()
    with served(stage.dispatch(users=Guard())) as stage.url:
        yield stage


WRONG_CREDENTIALS = (
    *("", "Basic", "Basic !!!", "Basic w6k6", "Basic w6k6cDp4", "Bearer x", "Basic " + "A" * 9000, "Digest a=b"),
)


def test_without_the_right_password_every_path_is_401(guarded):
    guarded.show({"api": "P"})
    generation = guarded.store.snapshot().generation
    unauthorized = (401, "401 Unauthorized\n", CHALLENGE, generation)

    wrong = {}
    for path in (*EVERY, "/nope"):
        for credentials in WRONG_CREDENTIALS:
            answer = guarded.get(path, Authorization=credentials) if credentials else guarded.get(path)
            if (answer.status, answer.text, answer.headers["WWW-Authenticate"], answer.generation) != unauthorized:
                wrong[path, credentials] = answer

    assert wrong == {}


@pytest.mark.parametrize("path", EVERY)
def test_with_the_right_password_every_path_is_200(guarded, path):
    guarded.show({"api": "P"})

    assert guarded.get(path, Authorization="Basic w6k6cDp3").status == 200
    assert guarded.get(path, Authorization="Later yes").status == 200


def test_a_password_that_cannot_be_checked_now_is_503(guarded):
    answer = guarded.get("/metrics", Authorization="Later maybe")

    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert guarded.get("/metrics", Authorization="Later no").status == 401


def test_the_probe_listener_has_the_probe_paths_only_and_no_password(stage):
    stage.show({"api": "P"})
    with served(stage.probes_only()) as url:
        found = {path: get(url + path).status for path in EVERY}

    assert found == {path: 200 if path in PROBES else 404 for path in EVERY}


# Answers given


def test_answers_are_counted(stage):
    """Only the answers of groups, including those to HEAD, and not those of single checks."""
    stage = Stage()
    with served(stage.dispatch()) as stage.url:
        stage.show({"api": "F"}, Group.LIVENESS)
        for path in ("/livez", "/livez?format=json", "/livez?exclude=api", "/readyz", "/livez/api", "/livez/nope"):
            stage.get(path)
        stage.get("/livez", "HEAD")
        stage.get("/livez", "POST")
        exposed = stage.get("/metrics?name[]=health_answers_total").text

    assert [line for line in exposed.splitlines() if not line.startswith("#")] == [
        'health_answers_total{code="200",group="liveness"} 1.0',
        'health_answers_total{code="503",group="liveness"} 3.0',
        'health_answers_total{code="200",group="readiness"} 1.0',
    ]


@settings(max_examples=75)
@given(
    accept=(VALID | GARBAGE).map(
        lambda text: text.encode("latin-1", "replace").translate(None, b"\0\r\n\t\v\f").strip()
    )
)
def test_the_content_type_matches_the_body(stage, accept):
    stage.show({"api": "P"})
    head = b"GET /metrics HTTP/1.0\r\nAccept: " + accept + b"\r\n\r\n"

    fields, _, body = exchange(stage.url, head).partition(b"\r\n\r\n")

    content_type = next(line for line in fields.split(b"\r\n") if line.startswith(b"content-type: "))
    assert content_type in (f"content-type: {TEXT}".encode(), f"content-type: {OPEN_METRICS}".encode())
    assert body.endswith(b"\n# EOF\n") == (content_type == f"content-type: {OPEN_METRICS}".encode())


@pytest.mark.parametrize(("accept", "parse"), [("text/plain", parse_text), (PROMETHEUS_3, parse_open_metrics)])
def test_both_formats_can_be_parsed(stage, accept, parse):
    stage.show({"api": "PWFU"})

    families = {family.name for family in parse(stage.get("/metrics", Accept=accept).text)}

    assert "health_check_up" in families


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("br", False),
        ("identity", False),
        ("gzip;q=abc", False),
        ("x-gzip", False),
        ("," * 4000, False),
    ],
)
def test_metrics_are_compressed_for_clients_that_accept_gzip(stage, accepted, packed):
    stage.show({"api": "P"})

    answer = stage.get("/metrics", Accept_Encoding=accepted)

    assert answer.headers.get("Content-Encoding") == ("gzip" if packed else None)
    assert b"health_check_up" in (gzip.decompress(answer.body) if packed else answer.body)
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert int(answer.headers["Content-Length"]) == len(answer.body)


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
def test_metrics_can_be_limited_to_names(stage, accept):
    stage.show({"api": "F"})
    names = ("health_check_up", "health_check_failures_total", "health_check_period_seconds", "health_nope")
    query = "&".join(f"name%5B%5D={name}" for name in names)

    lines = stage.get(f"/metrics?{query}", Accept=accept).text.splitlines()

    assert {line.partition("{")[0] for line in lines if not line.startswith("#")} == set(names) - {"health_nope"}


def test_unknown_names_give_empty_metrics(stage):
    stage.show({"api": "P"})

    assert stage.get("/metrics?name[]=nope").text == ""
    assert stage.get("/metrics?name[]=nope", Accept="application/openmetrics-text").text == "# EOF\n"


def test_any_number_of_names_is_accepted(stage):
    answer = stage.get("/metrics?" + "name[]=x&" * 1500)

    assert (answer.status, answer.text) == (200, "")


def test_metrics_is_200_whatever_the_checks_say(stage):
    stage.show({"api": "F", "more": "U"})

    assert stage.get("/metrics").status == 200
