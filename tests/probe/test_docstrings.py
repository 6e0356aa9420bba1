"""What stands under a field is its description in the JSON Schema, wherever its class comes from."""

from typing import ClassVar

from pydantic import Field, create_model

from exporter.probe.options import Options


class Base(Options):
    shared: int = 1
    """From the base."""
    changed: int = 1
    """Of the base."""


class Derived(Base):
    changed: int = 2
    """Of the class itself,
    on two lines."""
    bare: int = 0
    other: ClassVar = 5
    """Not a field."""
    two_words: int = 0
    """Under a name of two words."""
    own: int = Field(0, description="Said in the field.")
    """Not this."""


def descriptions(model):
    return {name: option.get("description") for name, option in model.model_json_schema()["properties"].items()}


EXPECTED = {
    "shared": "From the base.",
    "changed": "Of the class itself,\non two lines.",
    "bare": None,
    "twoWords": "Under a name of two words.",
    "own": "Said in the field.",
}


def test_each_field_is_described_by_the_nearest_class():
    assert descriptions(Derived) == EXPECTED


def test_a_class_that_was_made_at_run_time_is_described_by_its_base():
    made = create_model("Made", __base__=Derived, shared=(int, 3), added=(int, 4))

    assert descriptions(made) == {**EXPECTED, "added": None}


def test_a_class_within_a_function_is_described():
    class Inner(Options):
        deep: int = 1
        """From within."""

    assert descriptions(Inner) == {"deep": "From within."}
