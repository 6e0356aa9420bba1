"""The HTTP surface over real sockets: paths, methods, negotiation, and what is on every answer."""

import gzip
import json
import timeit

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from make import FAIL, PASS, check, in_groups
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from stage import Stage, exchange, served
from support import get

from exporter.model import Group, Measurement, Outcome, Reason, Vitals
from exporter.render.metrics import OPEN_METRICS, TEXT
from exporter.server.negotiation import HEALTH_JSON, metrics_type, wants_json
from exporter.server.routes import PROBE_PATHS, probe_app

PLAIN = "text/plain; charset=utf-8"
PROBES = [*PROBE_PATHS, *(f"{path}/api" for path in PROBE_PATHS)]
EVERY = [*PROBES, "/", "/metrics", "/-/healthy", "/-/ready"]


@pytest.fixture(scope="module")
def stage():
    """One surface for the whole file; a test begins with what it shows."""
    made = Stage()
    with served(made.app()) as made.url:
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
        "[+]ping ok\n[-]bad failed: reason withheld\nlivez check failed\n",
    ),
    "one fails, verbose": (
        {"ping": "P", "bad": "F"},
        "/livez?verbose",
        503,
        "[+]ping ok\n[-]bad failed: reason withheld\nlivez check failed\n",
    ),
    "the order is the configuration's": (
        {"z": "F", "a": "F", "m": "P"},
        "/healthz",
        503,
        "[-]z failed: reason withheld\n[-]a failed: reason withheld\n[+]m ok\nhealthz check failed\n",
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
            "[-]x failed: reason withheld\n[-]y failed: reason withheld\n"
            'warn: some health checks cannot be excluded: no matches for "x,y"\nreadyz check failed\n'
        ),
    ),
    "one of two excluded": (
        {"x": "F", "y": "F"},
        "/readyz?exclude=x",
        503,
        "[+]x excluded: ok\n[-]y failed: reason withheld\nreadyz check failed\n",
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
    "warn is healthy": ({"disk": "W"}, "/readyz?verbose", 200, "[+]disk ok\nreadyz check passed\n"),
    "unknown is alive": ({"x": ""}, "/livez", 200, "ok"),
    "one unknown check is alive": ({"x": ""}, "/livez/x", 200, "ok"),
    "unknown is not ready": ({"x": ""}, "/readyz", 503, "[-]x failed: reason withheld\nreadyz check failed\n"),
    "one unknown check is not ready": ({"x": ""}, "/readyz/x", 503, "x failed: pending\n"),
    "unknown has not started": ({"x": "U"}, "/startupz", 503, "[-]x failed: reason withheld\nstartupz check failed\n"),
    "unknown is not healthy": ({"x": "U"}, "/healthz", 503, "[-]x failed: reason withheld\nhealthz check failed\n"),
}


@pytest.mark.parametrize("case", GRAMMAR)
def test_the_apiserver_s_grammar(stage, case):
    shown, path, status, body = GRAMMAR[case]
    stage.show(shown)

    answer = stage.get(path)

    assert (answer.status, answer.text) == (status, body)
    assert answer.headers["Content-Type"] == PLAIN


@pytest.mark.parametrize("path", PROBE_PATHS)
def test_a_group_s_path_lists_its_own_checks_only(stage, path):
    group = PROBE_PATHS[path]
    stage.watch(check("in", groups=in_groups(group), failure_threshold=1), check("out", groups=frozenset()))
    stage.conclude("in", FAIL)
    stage.conclude("out", PASS)

    listed = stage.get(path).text.splitlines()[:-1]

    assert listed == ["[-]in failed: reason withheld"] + ["[+]out ok"] * (group is Group.ALL)


@pytest.mark.parametrize(
    "path", ["/livez/nope", "/livez/", "/livez/out", "/readyz/in/", "/readyz/in/more", "/startupz/in", "/healthz/"]
)
def test_a_check_that_the_group_does_not_have_is_not_found(stage, path):
    stage.watch(check("in", groups=in_groups(Group.READINESS)), check("out", groups=in_groups(Group.READINESS)))

    assert stage.get(path).status == 404


def test_every_check_is_in_healthz(stage):
    stage.show({"only": "P"}, Group.ALL)

    assert stage.get("/healthz/only").text == "ok"
    assert stage.get("/readyz/only").status == 404


def test_draining_withholds_readiness_and_nothing_else():
    stage = Stage()
    with served(stage.app()) as stage.url:
        stage.show({"api": "P"})
        stage.store.drain()
        ready, one = stage.get("/readyz"), stage.get("/readyz/api")
        others = {path: stage.get(path).text for path in ("/livez", "/startupz", "/healthz")}
        document = json.loads(stage.get("/readyz?format=json").body)
        own = stage.get("/-/ready").status, stage.get("/-/healthy").status
        excluded = stage.get("/readyz?exclude=shutdown").status

    assert (ready.status, ready.text) == (
        503,
        "[+]api ok\n[-]shutdown failed: reason withheld\nreadyz check failed\n",
    )
    assert one.status == 200
    assert set(others.values()) == {"ok"}
    assert (document["status"], document["notes"]) == ("fail", ["shutting down"])
    assert own == (503, 200)
    assert excluded == 503


# health+json


@pytest.mark.parametrize("path", PROBE_PATHS)
def test_the_same_verdict_as_a_document(stage, path):
    stage.show({"api": "P", "bad": "F"})

    answer = stage.get(f"{path}?format=json")

    document = json.loads(answer.body)
    assert answer.status == 503
    assert answer.headers["Content-Type"] == HEALTH_JSON
    assert document["status"] == "fail"
    assert document["group"] == PROBE_PATHS[path]
    assert document["generation"] == answer.generation
    assert {name: each[0]["status"] for name, each in document["checks"].items()} == {"api": "pass", "bad": "fail"}


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
def test_the_form_is_asked_for_by_accept_or_format(stage, accept, path, json_):
    stage.show({"api": "P"})

    answer = stage.get(path, Accept=accept) if accept else stage.get(path)

    assert answer.headers["Content-Type"] == (HEALTH_JSON if json_ else PLAIN)
    assert (answer.body == b"ok") != json_


def test_an_excluded_check_does_not_count_in_the_document_either(stage):
    stage.show({"bad": "F"})

    answer = stage.get("/livez?format=json&exclude=bad")

    assert (answer.status, json.loads(answer.body)["status"]) == (200, "pass")


# What is on every answer


def seen(answer):
    return {name.lower(): value for name, value in answer.headers.items() if name.lower() != "date"}


@pytest.mark.parametrize("path", [*EVERY, "/nope", "/livez/nope"])
def test_head_answers_as_get_without_the_body(stage, path):
    """But for /metrics, whose own process figures move on between the two."""
    stage.show({"api": "F"})
    full, head = stage.get(path), stage.get(path, "HEAD")

    assert head.status == full.status
    assert head.body == b""
    if path != "/metrics":
        assert seen(head) == seen(full)
    assert seen(head).keys() == seen(full).keys()


@pytest.mark.parametrize("path", [*EVERY, "/nope", "//livez", "/livez/nope", "/-/reload"])
def test_every_answer_carries_the_generation_and_is_neither_stored_nor_sniffed(stage, path):
    stage.show({"api": "F"})

    for method in ("GET", "HEAD", "POST", "DELETE"):
        answer = stage.get(path, method)
        assert answer.generation == stage.store.snapshot().generation
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"])
@pytest.mark.parametrize("path", EVERY)
def test_another_method_is_refused_with_those_that_are_not(stage, path, method):
    stage.show({"api": "P"})

    answer = stage.get(path, method)

    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert answer.text == "405 Method Not Allowed\n"


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
        "http://127.0.0.1/livez",
        "http://evil.example//",
        "?",
        "?verbose",
        "*",
        "livez",
        "evil.example:80",
    ],
)
def test_a_path_matches_exactly_or_is_not_found(stage, target):
    stage.show({"api": "P"})

    answer = exchange(stage.url, f"GET {target} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 404 "), answer
    assert b"evil.example" not in answer


PIECES = st.sampled_from(
    ["/", "//", "livez", "readyz", "metrics", "-", "api", ".", "..", "%2f", "%2e", "%00", "%ff", ";", "\\"]
)
TARGETS = st.lists(PIECES, max_size=8).map("".join) | st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40
)


@settings(max_examples=300, deadline=None)
@given(target=TARGETS, method=st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "CONNECT"]))
@example(target="", method="GET")
def test_no_answer_is_a_redirect(stage, target, method):
    """The kubelet takes a redirect to another host for success."""
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
    """No renderer relies on what the configuration lets through."""
    evil = '<script>alert("1")</script>\r\nX: y\0'
    stage.watch(check(evil, target=evil, failure_threshold=1))
    stage.conclude(evil, Outcome.failed(Reason.BODY, evil, Measurement("evil", 1)))

    answer = stage.get(path)

    assert answer.headers["X"] is None
    if path == "/":
        assert "<script>" not in answer.text
        assert "&lt;script&gt;" in answer.text
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    else:
        assert not [line for line in answer.text.split("\n") if line.startswith("X: y")]


def test_what_a_request_says_is_not_repeated(stage):
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
def test_reloading_by_http_tells_how_it_went(method):
    stage, wrong = Stage(), [None, "health.yml:1: not YAML"]
    with served(stage.app(reload=lambda: wrong.pop(0))) as stage.url:
        good, bad = stage.get("/-/reload", method), stage.get("/-/reload", method)
        refused = stage.get("/-/reload")

    assert (good.status, good.text) == (200, "")
    assert (bad.status, bad.text) == (
        500,
        "failed to reload the configuration; keeping the previous one:\nhealth.yml:1: not YAML\n",
    )
    assert refused.status == 405


def test_what_breaks_inside_is_a_500_without_details():
    stage = Stage()

    def broken():
        raise RuntimeError("secret")

    with served(stage.app(reload=broken)) as stage.url:
        answer = stage.get("/-/reload", "POST")
        alive = stage.get("/livez").status

    assert (answer.status, answer.text) == (500, "500 Internal Server Error\n")
    assert answer.generation == stage.store.snapshot().generation
    assert alive == 200


# Passwords


@pytest.fixture(scope="module")
def guarded():
    stage = Stage()
    with served(stage.app(authorize=lambda user, password: (user, password) == ("é", "p:w"))) as stage.url:
        yield stage


@pytest.mark.parametrize("path", [*EVERY, "/nope"])
@pytest.mark.parametrize(
    "given_",
    ["", "Basic", "Basic !!!", "Basic w6k6", "Basic w6k6cDp4", "Bearer x", "Basic " + "A" * 9000, "Digest a=b"],
)
def test_without_the_right_password_there_is_only_401(guarded, path, given_):
    guarded.show({"api": "P"})

    answer = guarded.get(path, Authorization=given_) if given_ else guarded.get(path)

    assert (answer.status, answer.text) == (401, "Unauthorized\n")
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="health-exporter"'
    assert answer.generation == guarded.store.snapshot().generation


@pytest.mark.parametrize("path", EVERY)
def test_with_the_right_password_everything_is_answered(guarded, path):
    guarded.show({"api": "P"})

    assert guarded.get(path, Authorization="Basic w6k6cDp3").status == 200


def test_the_probe_listener_has_the_probe_paths_only_and_no_password(stage):
    stage.show({"api": "P"})
    with served(probe_app(stage.store, stage.answers).wsgi_app) as url:
        found = {path: get(url + path).status for path in EVERY}

    assert found == {path: 200 if path in PROBES else 404 for path in EVERY}


# Answers given


def test_the_answers_really_given_are_counted(stage):
    """A group's answers only, HEAD too; single checks have no verdict of a group."""
    stage = Stage()
    with served(stage.app()) as stage.url:
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


# Negotiation

PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3_NATIVE = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"
    "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=underscores;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
FORMATS = [
    ("", TEXT),
    ("*/*", TEXT),
    (BROWSER, TEXT),
    (PROMETHEUS_2_42, OPEN_METRICS),
    (PROMETHEUS_3, OPEN_METRICS),
    (PROMETHEUS_3_NATIVE, OPEN_METRICS),
    ("application/openmetrics-text", OPEN_METRICS),
    ("APPLICATION/OpenMetrics-Text; Version=1.0.0; charset=utf-8", OPEN_METRICS),
    ('application/openmetrics-text; version="1.0.0"', OPEN_METRICS),
    ("application/openmetrics-text;escaping=dots", OPEN_METRICS),
    ("application/openmetrics-text;version=abc", TEXT),
    ("application/openmetrics-text;version=99.9.9", TEXT),
    ("application/openmetrics-text;version=2.0.0", TEXT),
    ("application/openmetrics-text;version=0.0.1", TEXT),
    ("application/openmetrics-text;version=0.0.1,application/openmetrics-text;version=1.0.0;q=0.1", OPEN_METRICS),
    ("application/openmetrics-text;q=0", TEXT),
    ("application/openmetrics-text;version=1.0.0;q=0,*/*", TEXT),
    ("application/openmetrics-text;q=0.000,text/plain;q=0", TEXT),
    ("application/openmetrics-text;q=0.5,text/plain;q=0.5", TEXT),
    ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.5", OPEN_METRICS),
    ("application/openmetrics-text;q=0.5,text/plain;q=0.6", TEXT),
    ("application/openmetrics-text;q=0.6,text/plain;q=0.5", OPEN_METRICS),
    ("text/plain;version=0.0.4;q=0.3,application/openmetrics-text;version=1.0.0;q=0.2", TEXT),
    ("application/*", OPEN_METRICS),
    ("application/*;q=0.4,text/*;q=0.5", TEXT),
    ("text/plain;q=0,*/*", OPEN_METRICS),
    ("*/*;q=0", TEXT),
    ("text/html", TEXT),
    ("application/vnd.google.protobuf", TEXT),
    ("application/openmetrics-text;q=1.5", TEXT),
    ("application/openmetrics-text;q=nan", TEXT),
    ("application/openmetrics-text;q=-1", TEXT),
    (",,,;;;==", TEXT),
    ("application/openmetrics-text" + "," * 16_000, TEXT),
]


@pytest.mark.parametrize(("accept", "format_"), FORMATS, ids=[accept[:60] or "none" for accept, _ in FORMATS])
def test_the_exposition_s_format_is_the_preferred_one_of_those_there_are(accept, format_):
    assert metrics_type(accept) == format_


DOCUMENTS = [
    ("", False),
    ("*/*", False),
    (BROWSER, False),
    ("text/plain", False),
    ("application/health+json", True),
    ("Application/Health+JSON", True),
    ("application/json", True),
    ("application/json;charset=utf-8", True),
    ("application/json, */*", True),
    ("application/json;q=0.1, text/plain", False),
    ("application/json, text/plain;q=0.9", True),
    ("application/json, text/plain", False),
    ("application/*", True),
    ("application/json;q=0", False),
    ("application/json;q=0, application/health+json;q=0.1", True),
    ("text/plain;q=0, */*;q=0.1", True),
    ("application/vnd.api+json", False),
    ("application/json;q=x", False),
]


@pytest.mark.parametrize(("accept", "json_"), DOCUMENTS, ids=[accept or "none" for accept, _ in DOCUMENTS])
def test_a_document_is_given_to_those_who_prefer_it(accept, json_):
    assert wants_json(accept) == json_


QUALITY = st.sampled_from(
    ["", ";q=0", ";q=0.5", ";q=1", ";q=1.000", ";q=2", ";q=nan", ";q=-0", ";q=", ";Q=0.1", ";q=1e9"]
)
MEDIA = st.sampled_from(
    [
        "*/*",
        "text/*",
        "text/plain",
        "application/*",
        "application/openmetrics-text",
        "application/json",
        HEALTH_JSON,
        "*",
        "/",
        "",
    ]
)
OPTION = st.sampled_from(
    ["", ";version=1.0.0", ";version=0.0.4", ";version=abc", ";version", ';version="', ";charset=utf-8", ";a=b;c"]
)
VALID = st.lists(st.tuples(MEDIA, OPTION, QUALITY).map("".join), max_size=8).map(",".join)
GARBAGE = st.text(max_size=200) | st.text(',;="/*q. \t', max_size=400)
HUGE = st.builds(lambda piece, times: (piece * times)[:16_384], GARBAGE, st.integers(1, 16_384))


@settings(max_examples=400, deadline=None, phases=set(Phase) - {Phase.explain})  # which traces every line, slowly
@given(accept=VALID | GARBAGE | HUGE)
@example(accept="," * 16_384)
@example(accept=";" * 16_384)
@example(accept='"' * 16_384)
@example(accept='a/b;c="' + "\\" * 16_000)
@example(accept="a/b;" * 4096)
@example(accept="a/b;q=" + "1" * 4000)
@example(accept="*/*;*=" * 600)
def test_any_accept_header_is_answered_soon_and_with_a_format_there_is(accept):
    assert metrics_type(accept) in (TEXT, OPEN_METRICS)
    assert wants_json(accept) in (True, False)
    assert min(timeit.repeat(lambda: (metrics_type(accept), wants_json(accept)), number=1, repeat=3)) < 0.05


@settings(max_examples=150, deadline=None)
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
def test_both_formats_are_what_they_say(stage, accept, parse):
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
def test_the_exposition_is_packed_for_those_who_take_it(stage, accepted, packed):
    stage.show({"api": "P"})

    answer = stage.get("/metrics", Accept_Encoding=accepted)

    assert answer.headers.get("Content-Encoding") == ("gzip" if packed else None)
    assert b"health_check_up" in (gzip.decompress(answer.body) if packed else answer.body)
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert int(answer.headers["Content-Length"]) == len(answer.body)


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
def test_the_exposition_can_be_limited_to_names(stage, accept):
    stage.show({"api": "F"})
    names = ("health_check_up", "health_check_failures_total", "health_check_period_seconds", "health_nope")
    query = "&".join(f"name%5B%5D={name}" for name in names)

    lines = stage.get(f"/metrics?{query}", Accept=accept).text.splitlines()

    assert {line.partition("{")[0] for line in lines if not line.startswith("#")} == set(names) - {"health_nope"}


def test_names_that_are_not_there_give_an_empty_exposition(stage):
    stage.show({"api": "P"})

    assert stage.get("/metrics?name[]=nope").text == ""
    assert stage.get("/metrics?name[]=nope", Accept="application/openmetrics-text").text == "# EOF\n"


def test_names_without_number_are_answered(stage):
    answer = stage.get("/metrics?" + "name[]=x&" * 1500)

    assert (answer.status, answer.text) == (200, "")


def test_metrics_is_200_whatever_the_checks_say(stage):
    stage.show({"api": "F", "more": "U"})

    assert stage.get("/metrics").status == 200
