"""Rendered responses that are kept for equal requests, or that a client has already."""

from make import FAIL
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
    assert queries == [repr([("name[]", [str(number)])]) for number in range(3, MAX_RECENT + 3)]


def test_a_page_that_has_not_changed_is_not_sent_again():
    stage = Stage()
    stage.show({"web": "P"})
    with served(stage.dispatch()) as stage.url:
        first = stage.get("/")
        tag = first.headers["ETag"]
        unchanged = stage.get("/", If_None_Match=tag)
        filtered = stage.get("/?q=web")
        stage.conclude("web", FAIL)
        changed = stage.get("/", If_None_Match=tag)

    assert (first.status, unchanged.status, changed.status) == (200, 304, 200)
    assert tag.startswith('W/"')
    assert (unchanged.body, unchanged.headers["Content-Length"]) == (b"", None)
    assert unchanged.headers["ETag"] == filtered.headers["ETag"] == tag != changed.headers["ETag"]
    assert unchanged.generation == first.generation


def test_a_tag_is_of_one_process_and_of_what_is_wrong_with_its_files():
    stage = Stage()
    conditions = iter(["a", "a", "b"])
    dispatchers = [stage.dispatch(), stage.dispatch()]
    one, other = (dispatcher._make_tag("/") for dispatcher in dispatchers)
    dispatchers[0]._condition = lambda: next(conditions)
    first, second, third = (dispatchers[0]._make_tag("/") for _ in range(3))

    assert one != other
    assert first == second != third
    assert dispatchers[0]._make_tag("/metrics") == ""


def test_the_requests_for_a_page_share_one_rendering():
    """Also of a check's page. What a query has in addition does not matter, and a filter does."""
    rendered = []
    stage = Stage()
    stage.show({"web": "P"})
    app = stage.app()
    dispatch = stage.dispatch(lambda environ, start: (rendered.append(environ["QUERY_STRING"]), app(environ, start))[1])
    dispatch._version = lambda now: 0  # the clock stands still
    with served(dispatch) as stage.url:
        for path in ("/", "/?utm=1", "/?q=w", "/?q=w&x", "/?q=e", "/check/web", "/check/web?x", "/check/web?still"):
            assert stage.get(path).status == 200

    assert rendered == ["", "q=w", "q=e", "", "still"]
