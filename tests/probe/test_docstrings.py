"""The docstring under a field is its description in the JSON Schema, however its class was created."""

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
    """With a name of two words."""
    explicit: int = Field(0, description="In the field itself.")
    """Not this."""


def descriptions(model):
    return {name: option.get("description") for name, option in model.model_json_schema()["properties"].items()}


EXPECTED = {
    "shared": "From the base.",
    "changed": "Of the class itself,\non two lines.",
    "bare": None,
    "twoWords": "With a name of two words.",
    "explicit": "In the field itself.",
}


def test_the_nearest_class_describes_a_field():
    assert descriptions(Derived) == EXPECTED


def test_its_base_describes_a_class_created_at_run_time():
    made = create_model("Made", __base__=Derived, shared=(int, 3), added=(int, 4))

    assert descriptions(made) == {**EXPECTED, "added": None}


def test_a_class_in_a_function_has_descriptions():
    class Inner(Options):
        deep: int = 1
        """From within."""

    assert descriptions(Inner) == {"deep": "From within."}
