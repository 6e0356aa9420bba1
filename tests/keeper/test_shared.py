"""The memory that the keeper shares with its workers."""

from exporter.config.document import MAX_BYTES
from exporter.config.files import MAX_FILES
from exporter.keeper.shared import MAX_CONFIGURATION, Kept

PATH_MAX = 4096  # bytes of a path in Linux


def test_a_configuration_is_kept_until_the_next_one():
    kept = Kept()
    assert kept.read() == b""

    for content in (b"x" * MAX_CONFIGURATION, b"checks: []\n"):
        kept.write(content)
        assert kept.read() == content


def test_a_configuration_that_is_too_large_is_not_kept():
    kept = Kept()
    kept.write(b"checks: []\n")
    kept.write(b"x" * (MAX_CONFIGURATION + 1))

    assert kept.read() == b""
    assert MAX_CONFIGURATION > MAX_BYTES + MAX_FILES * PATH_MAX
