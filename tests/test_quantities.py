"""Numbers with their units: the same in a message as on the page."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import Measurement, Outcome
from exporter.quantities import format_duration, format_quantity, format_size
from exporter.render.words import format_limits


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
        (0.0000421, "0.04 ms"),
        (0.0032, "3.2 ms"),
        (0.99994, "999.9 ms"),
        (0.99996, "1.0 s"),
        (1, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (60, "1 min"),
        (119.9, "2 min"),
        (93.2, "1 min 33 s"),
        (3599.9, "1 h"),
        (3540, "59 min"),
        (3600, "1 h"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (8_640_000, "100 d"),
        (-0.5, "-500.0 ms"),
        (-259_300, "-3 d"),
    ],
)
def test_a_duration_is_in_at_most_two_units(seconds, text):
    assert format_duration(seconds) == text


@given(st.floats(0, 1e12))
def test_a_duration_is_never_of_a_unit_that_is_full(seconds):
    numbers = re.findall(r"([\d.]+) (\w+)", format_duration(seconds))

    assert all(float(number) < {"ms": 1000, "s": 60, "min": 60, "h": 24, "d": 1e9}[unit] for number, unit in numbers)


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
    ("name", "value", "warn", "fail", "shown", "limits"),
    [
        ("load_ratio", 7.301, 0.7, 9.0, "730.1 %", ["70 %", "900 %"]),
        ("load_ratio", 0.3, 0.7, 9.0, "30 %", ["70 %", "900 %"]),
        ("file_age_seconds", 93.2, None, 90, "1 min 33 s", ["1 min 30 s"]),
        ("process_memory_bytes", 3 * 2**30, None, 2**31, "3 GiB", ["2 GiB"]),
        ("promql_value", 12.5, 0.25, None, "12.5", ["0.25"]),
    ],
)
def test_a_message_has_the_numbers_of_the_page(name, value, warn, fail, shown, limits):
    measurement = Measurement(name, value, warn, fail)
    message = Outcome.measured("", measurement).summary

    assert measurement.quantity == shown
    assert re.findall(r"(?:warn|fail) (.*?)(?:, |$)", format_limits(measurement)) == limits
    assert any(f"limit {limit} reached" in message or f"at {limit}" in message for limit in limits)
