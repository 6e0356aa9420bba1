"""The answers to probes that are kept in memory."""

import pytest
from make import FAIL
from stage import Stage

from exporter.server.probes import MAX_CACHED, MAX_QUERY


def test_a_limited_number_of_answers_is_kept_for_a_generation():
    """Whoever sends ever new queries gets the same verdict, but fills no memory."""
    stage = Stage()
    stage.show({"web": "P"})

    def answer(number):
        return stage.probes.answer("GET", "/livez", f"number={number}")

    first = [answer(number) for number in range(MAX_CACHED + 1)]
    again = [answer(number) for number in range(MAX_CACHED + 1)]
    assert [one is other for one, other in zip(first, again, strict=True)] == [True] * MAX_CACHED + [False]
    assert first == again

    stage.conclude("web", FAIL)
    assert answer(MAX_CACHED) is answer(MAX_CACHED)
    assert answer(0).status == 503


@pytest.mark.parametrize("path", ["/livez", "/livez/web", "/-/healthy"])
@pytest.mark.parametrize(("length", "status"), [(MAX_QUERY, 200), (MAX_QUERY + 1, 414)])
def test_a_query_has_a_maximum_length(path, length, status):
    stage = Stage()
    stage.show({"web": "P"})

    assert stage.probes.answer("GET", path, "q" * length).status == status
