"""Log lines on a real pipe: one line per record, and nothing waits for the reader."""

import json
import logging
import os
import re
from contextlib import contextmanager
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import PATIENCE, eventually

from exporter.log import MAX_BACKLOG, Json, Logfmt, Writer, start

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
EVIL = 'first\nlevel=error msg="second" \r\x1b[31m\0\u202e\ud800 "\\'


def record(msg="answered 503", level=logging.WARNING, **fields):
    log_record = logging.LogRecord("exporter.server.routes", level, __file__, 1, msg, (), None)
    log_record.fields = fields
    return log_record


@pytest.fixture
def pipe():
    """The two ends of a pipe; the writing end is a stream."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as reader, os.fdopen(writing, "w") as stream:
        yield reader, stream


@contextmanager
def writing(stream, formatter=None):
    writer = Writer(stream, formatter or Logfmt())
    try:
        yield writer
    finally:
        writer.close()


def read_lines(reader, count):
    """At least this many lines from the pipe, and no part of a further one."""
    text = b""
    while text.count(b"\n") < count or not text.endswith(b"\n"):
        text += reader.read(65536)
    return text.decode().splitlines()


def test_logfmt_is_key_value_pairs():
    line = Logfmt().format(
        record(method="GET", path="/readyz", because="web (timeout), api (dns)", generation=7, no=None)
    )

    assert re.fullmatch(
        rf'ts={TIME} level=warn msg="answered 503" method=GET path=/readyz because="web \(timeout\), api \(dns\)" '
        "generation=7",
        line,
    )


def test_json_is_one_object():
    line = Json().format(record(path="/readyz", generation=7, no=None))

    assert re.fullmatch(TIME, json.loads(line)["ts"])
    assert list(json.loads(line).items())[1:] == [
        ("level", "warn"),
        ("msg", "answered 503"),
        ("path", "/readyz"),
        ("generation", 7),
    ]


@pytest.mark.parametrize(
    ("level", "word"),
    [
        (logging.DEBUG, "debug"),
        (logging.INFO, "info"),
        (logging.WARNING, "warn"),
        (logging.ERROR, "error"),
        (logging.CRITICAL, "error"),
    ],
)
def test_levels_are_named_as_in_prometheus(level, word):
    assert f" level={word} " in Logfmt().format(record(level=level))
    assert json.loads(Json().format(record(level=level)))["level"] == word


def test_a_traceback_is_one_line_too():
    failure = record("broke")
    try:
        raise RuntimeError(EVIL)
    except RuntimeError as error:
        failure.exc_info = (type(error), error, error.__traceback__)

    for formatter in (Logfmt(), Json()):
        line = formatter.format(failure)
        assert line.isprintable()
        assert "RuntimeError" in line


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_any_text_stays_on_its_line(message, text):
    any_text = record("%s", summary=text)
    any_text.args = (message,)

    for formatter in (Logfmt(), Json()):
        line = formatter.format(any_text)
        assert line.isprintable()
        assert line.isascii()
    assert json.loads(Json().format(any_text))["summary"] == text


@pytest.mark.parametrize(("level", "written"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1)])
@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_the_level_and_the_form_are_the_configured_ones(pipe, level, written, form):
    reader, stream = pipe
    root = logging.getLogger()
    before = root.handlers[:], root.level
    writer = start(level, form, stream)
    try:
        for severity in (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG):
            logging.getLogger("exporter.test").log(severity, "logged at %d", severity)
        writer.close()
    finally:
        root.handlers[:], _ = before[0], root.setLevel(before[1])

    lines = read_lines(reader, written)
    assert len(lines) == written
    assert all(line.startswith("{" if form == "json" else "ts=") for line in lines)


def test_the_last_lines_are_written_before_the_process_exits(pipe):
    reader, stream = pipe
    with writing(stream) as writer:
        for number in range(500):
            writer.handle(record(f"line {number}"))

    assert len(read_lines(reader, 500)) == 500


def test_a_reader_that_has_stopped_reading_costs_lines_and_keeps_nobody_waiting(pipe):
    """Every line is accepted before the first is read. Lost lines are counted, and logged once somebody reads again."""
    reader, stream = pipe
    said = MAX_BACKLOG + 1000
    with writing(stream) as writer:
        for number in range(said):
            writer.handle(record(f"line {number} {'x' * 500}"))

        read, lost = 0, 0
        while read + lost < said:
            for line in read_lines(reader, 1):
                found = re.search(r'level=warn msg="(\d+) log lines were dropped"', line)
                lost += int(found[1]) if found else 0
                read += 'msg="line ' in line
        assert (read + lost, writer.dropped) == (said, 0)
        assert lost > 0


def test_the_end_does_not_wait_for_a_reader_that_has_stopped_reading(pipe):
    _, stream = pipe
    writer = Writer(stream, Logfmt())
    for number in range(MAX_BACKLOG // 2):
        writer.handle(record(f"line {number}" + "x" * 1000))

    closing = Thread(target=writer.close, daemon=True)
    closing.start()
    closing.join(PATIENCE)

    assert not closing.is_alive()


def test_a_reader_that_has_gone_costs_lines_only(pipe):
    reader, stream = pipe
    with writing(stream) as writer:
        reader.close()
        writer.handle(record("nobody reads this"))
        eventually(lambda: writer.dropped == 1)
        writer.handle(record("nor this"))
        eventually(lambda: writer.dropped == 2)
