"""Names and numbers of processes, as they appear in messages."""

import pytest

from exporter.host.processes import MAX_LISTED, MAX_SIMILAR, find_similar, list_pids


@pytest.mark.parametrize(
    ("pids", "text"),
    [([7], "pid 7"), ([9, 7], "pids 7, 9"), (range(1, MAX_LISTED + 3), "pids 1, 2, 3, 4, 5 and 2 more")],
    ids=str,
)
def test_pids_are_listed_in_ascending_order(pids, text):
    assert list_pids(pids) == text


def test_a_limited_number_of_pids_and_names_is_listed():
    names = [(number, f"nginx{number % (MAX_SIMILAR + 2)}") for number in range(10_000_000, 10_000_200)]
    similar = find_similar(names, "nginx")

    assert len(similar) == MAX_SIMILAR
    assert all(f"and {40 - MAX_LISTED} more" in text for text in similar)


@pytest.mark.parametrize(
    ("name", "wanted", "similar"),
    [
        ("nginx", "Nginx", True),
        ("nginx", "ninx", True),
        ("postgres", "postgresql", True),
        ("celeryd", "celery", True),
        ("sh", "ssh-agent", False),  # a short name is part of many
        ("redis-server", "nginx", False),
        ("", "nginx", False),
    ],
)
def test_which_names_are_similar(name, wanted, similar):
    assert bool(find_similar([(10_000_000, name)], wanted)) is similar
