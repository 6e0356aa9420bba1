"""Content negotiation: whatever the Accept header says, there is a format."""

import time
import timeit

import pytest
from accept_headers import BROWSER, GARBAGE, HUGE, PROMETHEUS_2_42, PROMETHEUS_3, PROMETHEUS_3_NATIVE, VALID
from hypothesis import Phase, example, given, settings

from exporter.render.metrics import OPEN_METRICS, TEXT
from exporter.server.negotiation import choose_format, wants_json

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


@settings(max_examples=400, deadline=None, phases=set(Phase) - {Phase.explain})  # which traces every line, slowly
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
