"""The result of a query in a response of Prometheus' HTTP API."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import Reason, Status
from exporter.net.client import Reply
from exporter.net.errors import DialError
from exporter.probe.prometheus import read_result

TARGET = "http://prometheus:9090"
DATA = {"resultType": "vector", "result": [{"metric": {}, "value": [1.0, "3"]}]}


def reply(content: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(content).encode(), "application/json")


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        ({}, None),
        ({"warnings": []}, None),
        ({"warnings": None, "isPartial": False}, None),
        ({"infos": ["metric might not be a counter"]}, None),
        ({"warnings": ["store 1: timeout"]}, "the server warns: store 1: timeout"),
        ({"warnings": ["one", "two", "three"]}, "the server warns: one, and 2 more"),
        ({"isPartial": True}, "the server warns: the result is partial"),
        ({"warnings": ["no data of canary"]}, "the server warns: no data of***"),
    ],
)
def test_a_warning_of_the_server_is_a_warning_of_the_check(more, warning):
    result = read_result(reply({"status": "success", "data": DATA, **more}), TARGET, ["a canary"])

    assert result.samples == ["3"]
    if warning is None:
        assert result.warning is None
    else:
        assert result.warning is not None
        assert (result.warning.status, result.warning.reason) == (Status.WARN, Reason.BODY)
        assert result.warning.summary == warning


@pytest.mark.parametrize(
    ("response", "reason", "message"),
    [
        (Reply(401, b""), Reason.PERMISSION, "returned 401"),
        (Reply(403, b"no", "text/plain"), Reason.PERMISSION, 'returned 403; received "no" (2 bytes, text/plain)'),
        (Reply(302, b"moved"), Reason.STATUS, "returned 302, a redirect, which is not followed"),
        (
            Reply(200, b"\x1f\x8b", "", "gzip"),
            Reason.STATUS,
            "returned 200, but not a response of Prometheus' API; received a body compressed with gzip (2 bytes)",
        ),
        (
            reply({"status": "success", "data": {"resultType": "matrix", "result": []}}),
            Reason.STATUS,
            "returned a matrix; the query must give an instant vector or a scalar",
        ),
        (
            reply({"status": "error", "errorType": "timeout", "error": "query of canary timed out"}, 503),
            Reason.TIMEOUT,
            "returned 503, timeout: query of*** timed out",
        ),
        (
            reply([]),
            Reason.STATUS,
            'returned 200, but not a response of Prometheus\' API; received "[]" (2 bytes, application/json)',
        ),
    ],
)
def test_any_other_response_is_an_error_that_shows_it(response, reason, message):
    with pytest.raises(DialError) as raised:
        read_result(response, TARGET, ["a canary"])

    assert (raised.value.reason, str(raised.value)) == (reason, f"{TARGET} {message}")


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists)
KEYS = st.sampled_from(["status", "data", "warnings", "isPartial", "errorType", "error", "resultType", "result"])


@given(st.dictionaries(KEYS, VALUES | st.just("success") | st.just(DATA)) | VALUES, st.sampled_from([200, 401, 503]))
def test_any_json_is_a_result_or_an_error(content, status):
    try:
        result = read_result(reply(content, status), TARGET, [])
    except DialError:
        return
    assert isinstance(result.samples, list)
