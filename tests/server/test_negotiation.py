"""Content negotiation: whatever the Accept header says, there is a format."""

import gzip
import random
import time
import timeit

import pytest
from accept_headers import (
    BROWSER,
    CODINGS,
    GARBAGE,
    HUGE,
    PROMETHEUS_2_42,
    PROMETHEUS_3,
    PROMETHEUS_3_NATIVE,
    RANGES,
    SIMPLE,
    VALID,
)
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from stage import Stage
from werkzeug.http import parse_accept_header, parse_options_header
from werkzeug.test import Client

from exporter.render.metrics import OPEN_METRICS, TEXT
from exporter.server import negotiation
from exporter.server.negotiation import HEALTH_JSON, MAX_ACCEPT, choose_format, wants_json

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
    ("*/*;q=0.2,text/*;q=0.9,application/openmetrics-text;q=0.5", TEXT),
    ("*/*;q=0.9,text/*;q=0.2,application/openmetrics-text;q=0.5", OPEN_METRICS),
    ("text/plain;version=1.0.0,application/openmetrics-text;q=0.5", OPEN_METRICS),
    ("text/html", TEXT),
    ("application/vnd.google.protobuf", TEXT),
    ("application/openmetrics-text;q=1.5", TEXT),
    ("application/openmetrics-text;q=nan", TEXT),
    ("application/openmetrics-text;q=-1", TEXT),
    (",,,;;;==", TEXT),
    ("application/openmetrics-text" + "," * 16_000, TEXT),
]


@pytest.mark.parametrize(("accept", "format_"), FORMATS, ids=[accept[:60] or "none" for accept, _ in FORMATS])
def test_metrics_come_in_the_preferred_format(accept, format_):
    assert choose_format(accept) == format_


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
def test_json_is_sent_to_clients_that_prefer_it(accept, json_):
    assert wants_json(accept) == json_


@settings(max_examples=150, phases=set(Phase) - {Phase.explain})  # which traces every line, slowly
@given(accept=VALID | GARBAGE | HUGE)
@example(accept="," * 16_384)
@example(accept=";" * 16_384)
@example(accept='"' * 16_384)
@example(accept='a/b;c="' + "\\" * 16_000)
@example(accept="a/b;" * 4096)
@example(accept="a/b;q=" + "1" * 4000)
@example(accept="*/*;*=" * 600)
def test_any_accept_header_gets_a_known_format_for_little_cpu(accept):
    assert choose_format(accept) in (TEXT, OPEN_METRICS)
    assert wants_json(accept) in (True, False)
    cpu = timeit.repeat(lambda: (choose_format(accept), wants_json(accept)), time.thread_time, number=1, repeat=3)
    assert min(cpu) < 0.05


@given(SIMPLE, st.randoms(use_true_random=False))
@example(["text/*", "text/plain;q=0.5", "application/openmetrics-text;q=0.7"], random.Random(1))
def test_neither_order_nor_case_of_the_ranges_matters(ranges, shuffler):
    other = ranges[:]
    shuffler.shuffle(other)
    accept, shuffled = ",".join(ranges), " ,\t".join(other).upper()

    assert choose_format(shuffled) == choose_format(accept)
    assert wants_json(shuffled) == wants_json(accept)


@given(SIMPLE)
def test_a_refused_type_is_chosen_only_if_there_is_no_other(ranges):
    accept = ",".join([*ranges, "application/openmetrics-text;version=1.0.0;q=0"])
    assert choose_format(accept) == TEXT

    accept = ",".join([*ranges, "text/plain;version=0.0.4;q=0", "application/openmetrics-text;version=1.0.0;q=1"])
    assert choose_format(accept) == OPEN_METRICS


def test_a_header_of_the_maximum_length_still_counts():
    accept = "application/openmetrics-text".ljust(MAX_ACCEPT)

    assert choose_format(accept) == OPEN_METRICS
    assert choose_format(f"{accept} ") == TEXT
    assert wants_json("application/json".ljust(MAX_ACCEPT))
    assert not wants_json("application/json".ljust(MAX_ACCEPT + 1))


@given(RANGES)
def test_media_ranges_are_read_as_werkzeug_reads_them(accept):
    items = [(*parse_options_header(item), quality) for item, quality in parse_accept_header(accept)]

    assert sorted(map(repr, negotiation._parse(accept))) == sorted(
        repr((media.lower(), parameters, float(quality))) for media, parameters, quality in items
    )


@given(CODINGS)
def test_codings_are_read_as_werkzeug_reads_them(encoding):
    assert negotiation._accepts_gzip(encoding) == (parse_accept_header(encoding)["gzip"] > 0)


@pytest.fixture(scope="module")
def client():
    return Client(Stage().app())


ANY_CODINGS = st.lists(
    st.tuples(
        st.sampled_from(["gzip", "GZIP", "x-gzip", "*", "identity", "br", "deflate", "", "gzip gzip"]),
        st.sampled_from(["", ";q=0", ";q=0.5", ";q=1", ";q=nan", ";q=", ";q=-1", ";gzip", '="']),
    ).map("".join),
    max_size=6,
).map(",".join)
LATIN = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60)


@settings(max_examples=100)
@given(accept=VALID | LATIN, encoding=ANY_CODINGS | LATIN)
def test_any_headers_get_a_type_and_a_coding_that_were_offered(client, accept, encoding):
    headers = {"HTTP_ACCEPT": accept, "HTTP_ACCEPT_ENCODING": encoding}

    metrics = client.get("/metrics", environ_overrides=headers)
    assert (metrics.status_code, metrics.content_type) == (200, choose_format(accept))
    coding = metrics.headers.get("Content-Encoding")
    assert coding in (None, "gzip")
    assert coding is None or "gzip" in encoding.lower() or "*" in encoding
    body = gzip.decompress(metrics.data) if coding else metrics.data
    assert body.startswith(b"# HELP ")
    assert body.endswith(b"# EOF\n") == (metrics.content_type == OPEN_METRICS)

    verdict = client.get("/readyz", environ_overrides=headers)
    assert verdict.content_type == (HEALTH_JSON if wants_json(accept) else "text/plain; charset=utf-8")
    assert "Content-Encoding" not in verdict.headers


@pytest.mark.parametrize(
    ("encoding", "coding"),
    [("gzip", "gzip"), ("gzip;q=0", None), ("*", "gzip"), ("*;q=0", None), ("identity", None), ("", None)],
)
def test_a_coding_is_used_only_if_it_is_accepted(client, encoding, coding):
    answer = client.get("/metrics", headers={"Accept-Encoding": encoding})

    assert answer.headers.get("Content-Encoding") == coding
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
