"""The kind `httpGet`: what a response must not contain, its headers, and compressed bodies."""

import gzip

import pytest
from kinds.frames import data, head, settings, tls2
from kinds.pages import OK, check, redirect, response
from kinds.servers import serving
from pydantic import ValidationError
from support import Process, command, configure_nginx, ended, eventually, free_port

from exporter.kinds.http_get import HttpGet
from exporter.model import Reason, Status

NGINX = """
    server {{
        listen 127.0.0.1:{port};
        gzip on; gzip_min_length 1; gzip_types *;
        location /page {{
            default_type text/html; add_header X-Cache HIT; add_header X-Cache stale; add_header Set-Cookie id=hunter2;
            return 200 "<h1>Error establishing a database connection</h1>\\n";
        }}
        location /status {{ default_type application/json; return 200 '{{"status": "up"}}'; }}
    }}
"""
GZIP = [{"name": "Accept-Encoding", "value": "gzip"}]
UP = [{"path": "$.status", "equals": "up"}]


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    """nginx, which compresses everything on request; its port."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    (folder / "nginx.conf").write_text(configure_nginx(NGINX.format(port=port)))
    with ended(Process([command("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"], cwd=folder)):
        eventually(lambda: check(port).outcome.reason is not Reason.CONNECT)
        yield port


@pytest.mark.parametrize("compression", [[], GZIP], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": "/status", "jsonPath": UP}, None),
        ({"path": "/page", "bodyContains": "<h1>", "bodyNotContains": "Warning", "bodyNotMatches": "^Error"}, None),
        ({"path": "/page", "bodyNotContains": "Error est"}, "the body contains the text that it must not contain"),
        ({"path": "/page", "bodyNotMatches": "Err[a-z]+"}, "the body matches Err[a-z]+; received "),
        ({"path": "/page", "bodyMatches": "^<h1>Welcome"}, "the body does not match ^<h1>Welcome"),
    ],
    ids=["json", "absent", "text", "pattern", "another page"],
)
def test_the_content_of_a_body_decides_compressed_or_not(nginx, options, words, compression):
    outcome = check(nginx, **options, httpHeaders=compression).outcome

    assert (outcome.status, outcome.reason) == ((Status.FAIL, Reason.BODY) if words else (Status.PASS, None))
    assert (words or "") in outcome.summary
    assert not words or ("gzip" in outcome.summary) == bool(compression)


@pytest.mark.parametrize(
    ("expectation", "words"),
    [
        ({"name": "content-type", "contains": "text/html"}, None),
        ({"name": "Content-Type", "matches": "^text/html$"}, None),
        ({"name": "Content-Type", "notMatches": "json"}, None),
        ({"name": "X-Cache"}, None),
        ({"name": "X-Cache", "matches": "^HIT, stale$"}, None),
        ({"name": "X-Absent", "notMatches": "."}, None),
        ({"name": "X-Absent"}, "the header X-Absent is missing"),
        ({"name": "X-Absent", "notMatches": "a", "contains": "b"}, "the header X-Absent is missing"),
        ({"name": "Content-Type", "contains": "json"}, 'does not contain the expected text; received "text/html"'),
        ({"name": "Content-Type", "matches": "/json"}, 'Content-Type does not match /json; received "text/html"'),
        ({"name": "X-Cache", "notMatches": "stale"}, 'the header X-Cache matches stale; received "HIT, stale"'),
        ({"name": "Set-Cookie", "notMatches": "id="}, "the header Set-Cookie matches id="),
    ],
    ids=str,
)
def test_the_headers_of_a_response_decide(nginx, expectation, words):
    outcome = check(nginx, path="/page", expectHeaders=[{"name": "Date"}, expectation]).outcome

    assert (outcome.status, outcome.reason) == ((Status.FAIL, Reason.BODY) if words else (Status.PASS, None))
    assert (words or "") in outcome.summary
    assert "hunter2" not in outcome.summary


@pytest.mark.parametrize(
    ("expectation", "passes"),
    [({"name": "X-Version", "matches": "^2, 3$"}, True), ({"name": "Server", "contains": "nginx"}, False)],
    ids=str,
)
def test_the_headers_of_a_response_over_http2_decide(expectation, passes):
    fields = (("x-version", "2"), ("content-type", "text/plain"), ("x-version", "3"))
    frames = settings() + head(200, *fields) + data(b"ok", end=True)
    with serving((frames,), tls=tls2()) as server:
        outcome = check(server.port, scheme="HTTPS", expectHeaders=[expectation]).outcome

    assert outcome.status is (Status.PASS if passes else Status.FAIL)


def test_the_headers_of_the_final_response_count():
    with serving((redirect("/b"),), (OK,)) as server:
        outcome = check(server.port, expectHeaders=[{"name": "Location"}]).outcome

    assert outcome.summary.endswith("/b, but the header Location is missing")


def test_a_redirect_that_is_not_followed_is_checked_by_its_location():
    with serving((redirect("https://shop.example/?token=hunter2"),)) as server:
        options = {"followRedirects": False, "expectHeaders": [{"name": "Location", "matches": "^https://blog"}]}
        outcome = check(server.port, **options).outcome

    assert outcome.summary.endswith('does not match ^https://blog; received "https://shop.example/?***"')


def test_a_header_that_is_repeated_endlessly_is_cut():
    lines = [f"X-Long: {'a' * 60_000}"] * 100
    with serving((response("200 OK", *lines, body=b"ok"),)) as server:
        outcome = check(server.port, expectHeaders=[{"name": "X-Long", "contains": "b"}]).outcome

    assert outcome.reason is Reason.BODY


def test_a_bomb_is_decoded_up_to_the_maximum():
    with serving((response("200 OK", "Content-Encoding: gzip", body=gzip.compress(b"\0" * 2**25)),)) as server:
        outcome = check(server.port, bodyContains="end").outcome

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.BODY)
    assert "only its first 1 MiB was searched" in outcome.summary


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"bodyNotContains": ""}, "at least 1 character"),
        ({"bodyNotMatches": "("}, "not a valid RE2 regular expression"),
        ({"bodyContains": "all is well", "bodyNotContains": "well"}, "no body can pass"),
        ({"method": "HEAD", "bodyNotContains": "Error"}, "a response to HEAD has no body"),
        ({"expectHeaders": [{"name": "a b"}]}, "letters, digits"),
        ({"expectHeaders": [{"name": "A", "equals": "b"}]}, "Extra inputs"),
    ],
    ids=str,
)
def test_invalid_options_are_rejected(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        HttpGet(port=80, **options)
