"""Numbers and sentences for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import settled, snapshot

from exporter.model import Measurement
from exporter.render.words import (
    format_duration,
    format_headline,
    format_limits,
    format_quantity,
    format_size,
    sort_worst_first,
)


def shown(**letters):
    return snapshot(settled(each, name=name, failure_threshold=1) for name, each in letters.items())


@pytest.mark.parametrize(
    ("letters", "text"),
    [
        ({}, "no checks"),
        ({"a": "P"}, "1 check, all pass"),
        ({"a": "P", "b": "P"}, "2 checks, all pass"),
        ({"a": "F"}, "1 fail of 1 check"),
        ({"a": "F", "b": "P", "c": "F"}, "2 fail of 3 checks"),
        ({"a": "W", "b": "", "c": "F", "d": "P"}, "1 fail, 1 unknown, 1 warn of 4 checks"),
    ],
)
def test_the_headline_counts_what_is_not_well(letters, text):
    assert format_headline(shown(**letters)) == text


def test_what_is_wrong_comes_first_and_otherwise_the_configuration_s_order():
    states = sort_worst_first(shown(a="P", b="W", c="", d="F", e="P", f="F"))

    assert [state.spec.name for state in states] == ["d", "f", "c", "b", "a", "e"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("endpoint_latency_seconds", 0.0032, "3.2 ms"),
        ("disk_used_ratio", 0.845, "84.5 %"),
        ("memory_available_bytes", 1536, "1.5 KiB"),
        ("certificate_expiry_timestamp_seconds", 1_700_000_000.4, "1700000000"),
        ("load1", 0.5, "0.5"),
        ("cpus", 2.0, "2"),
        ("count", 1234567.0, "1234567"),
    ],
)
def test_a_quantity_is_in_the_unit_of_its_name(name, value, text):
    assert format_quantity(name, value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 ms"),
        (0.0000421, "0.0 ms"),
        (0.0032, "3.2 ms"),
        (0.99994, "999.9 ms"),
        (0.99996, "1.0 s"),
        (1, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (60, "1 min"),
        (119.9, "1 min"),
        (3599.9, "59 min"),
        (3600, "1 h"),
        (86_399, "23 h"),
        (86_400, "1 d"),
        (8_640_000, "100 d"),
        (-0.5, "-500.0 ms"),
        (-259_300, "-3 d"),
    ],
)
def test_a_duration_is_in_one_unit(seconds, text):
    assert format_duration(seconds) == text


@given(st.floats(0, 1e12))
def test_a_duration_is_never_of_a_unit_that_is_full(seconds):
    number, unit = format_duration(seconds).split(" ")

    assert float(number) < {"ms": 1000, "s": 60, "min": 60, "h": 24, "d": 1e9}[unit]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1_048_575, "1 MiB"),
        (2**20, "1 MiB"),
        (12_345_678, "11.77 MiB"),
        (2**40, "1 TiB"),
        (2**60, "1.049e+06 TiB"),
        (-2048, "-2 KiB"),
    ],
)
def test_a_size_is_in_binary_units(count, text):
    assert format_size(count) == text


@pytest.mark.parametrize(
    ("warn", "fail", "text"),
    [(None, None, ""), (0.7, None, "warn 70 %"), (None, 0.9, "fail 90 %"), (0.7, 0.9, "warn 70 %, fail 90 %")],
)
def test_limits_are_those_that_are_set(warn, fail, text):
    assert format_limits(Measurement("load_ratio", 0.5, warn, fail)) == text
