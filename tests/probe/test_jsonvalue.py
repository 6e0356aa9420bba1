"""JSON of a target, with a maximum of values."""

import pytest

from exporter.probe.jsonvalue import MAX_VALUES, parse_json


def test_a_text_has_a_maximum_number_of_values():
    values = [b"1"] * (MAX_VALUES + 1)

    assert len(parse_json(b"[" + b",".join(values[1:]) + b"]")) == MAX_VALUES == 100_000
    with pytest.raises(ValueError, match="has more than 100000 values"):
        parse_json(b"[" + b",".join(values) + b"]")
