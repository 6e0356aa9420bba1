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


# What the history notes


def test_an_answer_is_noted_by_its_path_its_known_exclusions_and_its_client():
    stage = Stage()
    stage.show({"x": "F", "y": "F"})
    ask = stage.probes.answer
    for path, query in (
        ("/readyz", ""),
        ("/readyz", "verbose"),
        ("/readyz", "exclude=y&exclude=client-text"),
        ("/readyz/x", ""),
    ):
        ask("GET", path, query)
    ask("HEAD", "/readyz", json=True, kubelet=True)
    ask("GET", "/nope")
    ask("GET", "/readyz/nope")
    ask("GET", "/-/ready")

    assert [(entry.path, entry.kubelet, entry.because, entry.count) for entry in stage.answered.entries()] == [
        ("/readyz", False, ("x (connect)", "y (connect)"), 2),
        ("/readyz?exclude=y", False, ("x (connect)",), 1),
        ("/readyz/x", False, ("x (connect)",), 1),
        ("/readyz", True, ("x (connect)", "y (connect)"), 1),
    ]


def test_without_a_configuration_the_history_has_no_text_of_a_client():
    stage = Stage()
    stage.store.degrade()
    stage.probes.answer("GET", "/readyz/client-text")

    assert [entry.path for entry in stage.answered.entries()] == ["/readyz"]
