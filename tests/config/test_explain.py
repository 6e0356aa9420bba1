"""Messages about errors in a configuration."""

import pytest
from pydantic import BaseModel, ValidationError, field_validator

from exporter.config.explain import MAX_EXPLANATION, explain


class Options(BaseModel):
    """Options of a plugin, whose validator has much to say."""

    day: int

    @field_validator("day")
    @classmethod
    def _reject(cls, value: int) -> int:
        raise ValueError("m" * value)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (MAX_EXPLANATION, "m" * MAX_EXPLANATION),
        (MAX_EXPLANATION + 1, "m" * (MAX_EXPLANATION - 1) + "…"),
        (10**5, "m" * (MAX_EXPLANATION - 1) + "…"),
    ],
)
def test_a_long_message_of_a_plugin_is_cut(length, text):
    with pytest.raises(ValidationError) as raised:
        Options(day=length)

    assert explain(Options, raised.value.errors()[0]) == text
