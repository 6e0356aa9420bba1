"""Which known key an unknown one was meant to be."""

from exporter.config.unknown_keys import MAX_COMPARED, find_nearest


def test_only_the_beginning_of_a_key_is_compared():
    """The comparison takes quadratic time."""
    known = ["k" * MAX_COMPARED]

    assert find_nearest("k" * MAX_COMPARED + "z" * 10**6, known) == known[0]
    assert find_nearest("k" * (MAX_COMPARED // 2) + "z" * 10**6, known) is None
