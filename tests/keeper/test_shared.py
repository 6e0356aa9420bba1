"""The memory that the keeper shares with its workers."""

from exporter.config.document import MAX_BYTES
from exporter.keeper.shared import MAX_CONFIGURATION, Shared


def test_a_configuration_is_kept_until_the_next_one():
    shared = Shared()
    assert shared.configuration == b""

    for content in (b"x" * MAX_CONFIGURATION, b"checks: []\n"):
        shared.configuration = content
        assert shared.configuration == content


def test_a_configuration_that_is_too_large_is_not_kept():
    shared = Shared()
    shared.configuration = b"checks: []\n"
    shared.configuration = b"x" * (MAX_CONFIGURATION + 1)

    assert shared.configuration == b""
    assert MAX_CONFIGURATION == MAX_BYTES
