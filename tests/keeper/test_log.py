"""Log lines of the keeper, compared with those of the worker."""

import json
import logging
import os
import subprocess
import sys

import pytest
from support import PATIENCE

from exporter.keeper.log import MAX_LINES, Log, _format_json, _quote
from exporter.lines import format_logfmt, format_time
from exporter.log import Json, Logfmt

FIELDS = {"worker": 12, "signal": "SIGSEGV", "age": 4.6, "error": 'a "quoted" \\ text', "empty": ""}


@pytest.mark.parametrize("created", [0.0, 1.0009, 1_700_000_000.9999, 4_000_000_000.5])
def test_the_lines_are_those_of_the_worker(created):
    record = logging.makeLogRecord({"msg": "the worker has ended", "levelname": "WARNING", "created": created})
    record.fields = FIELDS
    pairs = {"ts": format_time(created), "level": "warn", "msg": "the worker has ended", **FIELDS}

    assert format_logfmt(pairs, _quote) == Logfmt().format(record)
    assert _format_json(pairs) == Json().format(record)
    assert json.loads(_format_json(pairs)) == pairs


WRITES = """
import os, sys, time
from exporter.keeper.log import Log
log = Log(*sys.argv[1:])
for level in ("debug", "info", "warn", "error"):
    log.write(level, level, {})
while log._writer:
    log.end(os.wait()[0])
"""


def write(level: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", WRITES, level, "logfmt"], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stderr == ""
    return [line.rpartition("=")[2] for line in done.stdout.splitlines()]


def test_lines_below_the_level_are_not_written():
    assert write("debug") == ["debug", "info", "warn", "error"]
    assert write("warn") == ["warn", "error"]


BLOCKED = """
import os, sys
from exporter.keeper.log import MAX_LINES, Log
log = Log("info", "logfmt")
for number in range(3 * MAX_LINES):
    log.write("warn", "x" * 2000, {"number": number})
sys.stderr.write(str(len(log._lines)))
os.kill(log._writer, 9)
"""


def test_a_reader_that_does_not_read_delays_nothing():
    """The process ends although nobody has read its standard output, and it has kept a limited number of lines."""
    with subprocess.Popen([sys.executable, "-c", BLOCKED], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.wait(PATIENCE) == 0
        assert child.stderr is not None
        assert int(child.stderr.read()) == MAX_LINES


ENDS = """
import os, sys, time
from exporter.keeper.log import MAX_FLUSH, Log
log = Log("info", "logfmt")
log.write("warn", "x" * 100_000, {})
log.close()
print(log._writer, file=sys.stderr)
"""


def test_the_end_does_not_wait_for_a_reader_that_does_not_read():
    """The line is longer than a pipe's buffer, so its writer is still there when `close` returns."""
    with subprocess.Popen([sys.executable, "-c", ENDS], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.wait(PATIENCE) == 0
        assert child.stderr is not None
        assert int(child.stderr.readline()) > 0


def test_without_another_process_the_lines_wait(monkeypatch):
    def refuse() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    log = Log("info", "logfmt")
    monkeypatch.setattr(os, "fork", refuse)
    log.write("warn", "one", {})

    assert len(log._lines) == 1
    assert log._writer is None
