"""Printing: a stream that is closed or full changes nothing."""

import io
import os
from contextlib import suppress

from exporter.console import echo


class FullStream(io.StringIO):
    def flush(self):
        raise OSError(28, "No space left on device")


def test_the_text_is_printed_as_a_line():
    stream = io.StringIO()
    echo("healthy", stream)

    assert stream.getvalue() == "healthy\n"


def test_a_closed_stream_is_skipped(capsys):
    echo("healthy", None)

    assert capsys.readouterr() == ("", "")


def test_a_failed_write_is_reported_on_standard_error(capsys):
    echo("healthy", FullStream())

    assert capsys.readouterr().err == "the report could not be written: No space left on device\n"


def test_a_failed_write_to_standard_error_is_silent(monkeypatch):
    stream = FullStream()
    monkeypatch.setattr("sys.stderr", stream)
    echo("healthy", stream)

    assert stream.getvalue() == "healthy\n"


def test_a_reader_that_has_read_enough_is_no_error(capsys):
    read, write = os.pipe()
    os.close(read)
    with suppress(BrokenPipeError), os.fdopen(write, "w") as stream:
        echo("healthy", stream)

    assert capsys.readouterr() == ("", "")
