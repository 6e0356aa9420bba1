"""How options are written."""

import doctest

from exporter import arguments


def test_the_examples():
    results = doctest.testmod(arguments)

    assert (results.failed, results.attempted) == (0, 2)
