"""The keeper's answers, compared with those that clients know from the worker."""

import json

import pytest

from exporter.ask import _EXPORTER_BODIES, _explain
from exporter.keeper.answers import PATHS, Request, render, respond
from exporter.keeper.shared import GROUPS
from exporter.server.routes import PROBE_PATHS


def answer(line: str, *headers: str) -> tuple[int, dict[str, str], str]:
    data = respond(Request("\r\n".join((line, *headers)).encode("latin-1")), "starting").decode()
    head, _, body = data.partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), body


def test_the_groups_are_those_of_the_worker():
    assert dict(zip(PATHS, GROUPS, strict=True)) == PROBE_PATHS


@pytest.mark.parametrize(
    ("line", "status", "body"),
    [
        ("GET /livez HTTP/1.1", 200, "ok"),
        ("GET /livez HTTP/1.0", 200, "ok"),
        ("HEAD /livez HTTP/1.1", 200, ""),
        ("GET /livez?verbose HTTP/1.1", 200, "livez check passed\n"),
        ("GET /livez?exclude=a HTTP/1.1", 200, "ok"),
        ("GET /livez/api HTTP/1.1", 200, "ok"),
        ("GET /livez/api?verbose HTTP/1.1", 200, "ok"),
        ("GET /-/healthy HTTP/1.1", 200, "Health Exporter is healthy.\n"),
        ("GET /readyz HTTP/1.1", 503, "Health Exporter is starting.\n"),
        ("HEAD /readyz HTTP/1.1", 503, ""),
        ("GET /readyz/api HTTP/1.1", 503, "Health Exporter is starting.\n"),
        ("GET /startupz HTTP/1.1", 503, "Health Exporter is starting.\n"),
        ("GET /healthz HTTP/1.1", 503, "Health Exporter is starting.\n"),
        ("GET /metrics HTTP/1.1", 503, "Health Exporter is starting.\n"),
        ("GET /livezz HTTP/1.1", 503, "Health Exporter is starting.\n"),
        ("GET //livez HTTP/1.1", 503, "Health Exporter is starting.\n"),
        ("GET /livez/api/x HTTP/1.1", 503, "Health Exporter is starting.\n"),
        ("GET /livez/ HTTP/1.1", 503, "Health Exporter is starting.\n"),
        ("POST /livez HTTP/1.1", 503, "Health Exporter is starting.\n"),
        ("POST /-/reload HTTP/1.1", 503, "Health Exporter is starting.\n"),
        ("OPTIONS * HTTP/1.1", 503, "Health Exporter is starting.\n"),
        ("GET http://x/livez HTTP/1.1", 200, "ok"),
        ("GET /livez", 400, "400 Bad Request\n"),
        ("GET /livez HTTP/2.0", 400, "400 Bad Request\n"),
        ("GET /li vez HTTP/1.1", 400, "400 Bad Request\n"),
        ("GET  HTTP/1.1", 400, "400 Bad Request\n"),
        ("", 400, "400 Bad Request\n"),
        ("\x16\x03\x01\xff", 400, "400 Bad Request\n"),
    ],
)
def test_liveness_is_200_and_everything_else_503(line, status, body):
    got, headers, text = answer(line)

    assert (got, text) == (status, body)
    assert headers["Health-Generation"] == "0"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Connection"] == "close"
    assert headers.get("Retry-After") == ("1" if status == 503 else None)
    assert line.startswith("HEAD") or int(headers["Content-Length"]) == len(body)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("how", ["query", "Accept: application/health+json", "accept: application/json"])
def test_json_is_a_document_that_ask_understands(path, how):
    line = f"GET {path}{'?verbose&format=json' if how == 'query' else ''} HTTP/1.1"
    status, headers, body = answer(line, how)
    document = json.loads(body)

    assert headers["Content-Type"] == "application/health+json"
    assert document["status"] == ("pass" if status == 200 else "fail")
    assert (document["generation"], document["group"], document["checks"]) == (0, PROBE_PATHS[path], {})
    assert _explain("livez", document) == [f"livez: {document['status']}, generation 0", "starting"]


def test_a_requested_format_outweighs_the_accept_header():
    assert answer("GET /livez?format=text HTTP/1.1", "Accept: application/json")[2] == "ok"
    assert answer("GET /livez HTTP/1.1", "Accept: */*")[2] == "ok"
    assert answer("GET /livez HTTP/1.1", "X-Accept: application/json")[2] == "ok"


def test_the_exporter_s_own_health_has_the_body_that_ask_expects():
    assert answer("GET /-/healthy?format=json HTTP/1.1")[2].encode() == _EXPORTER_BODIES[200]


def test_only_reading_requests_are_counted_for_their_group():
    lines = ["GET /livez", "HEAD /healthz?verbose", "POST /livez", "GET /livez/api", "GET /metrics"]

    assert [Request(f"{line} HTTP/1.1".encode()).group for line in lines] == [0, 3, None, None, None]


def test_an_answer_can_be_rendered_for_bytes_that_are_not_a_request():
    assert render(431, "too long\n", head=False).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
