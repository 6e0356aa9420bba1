"""Rendered responses that are kept for equal requests."""

from stage import Stage, served

from exporter.server.dispatch import MAX_RECENT


def test_a_limited_number_of_rendered_responses_is_kept():
    stage = Stage()
    stage.show({"web": "P"})
    dispatch = stage.dispatch()
    with served(dispatch) as stage.url:
        statuses = {stage.get(f"/metrics?name[]={number}").status for number in range(MAX_RECENT + 3)}

    queries = [query for _, _, query, *_ in dispatch._recent]
    assert statuses == {200}
    assert queries == [repr([[str(number)]]) for number in range(3, MAX_RECENT + 3)]
