"""Rendered responses that are kept for equal requests, or that a client has already."""

from make import FAIL
from stage import Stage, served
from support import eventually

from exporter.server.messages import Response
from exporter.server.recent import CHEAP, MAX_AGE, MAX_RECENT, SHARE, Recent


def test_a_limited_number_of_rendered_responses_is_kept():
    stage = Stage()
    stage.show({"web": "P"})
    dispatch = stage.dispatch()
    with served(dispatch) as stage.url:
        statuses = {stage.get(f"/metrics?name[]={number}").status for number in range(MAX_RECENT + 3)}

    queries = [query for _, _, query, *_ in dispatch._recent._kept]
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
        changed = eventually(lambda: (answer := stage.get("/", If_None_Match=tag)).headers["ETag"] != tag and answer)

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


def test_an_expensive_page_is_kept_although_checks_have_run():
    """An exposition is not: it is of the generation that it is requested in."""
    recent, page, metrics, response = Recent(), ("GET", "/"), ("GET", "/metrics"), Response(200, [], b"")
    recent.keep(page, 1, 100.0, 0.02, response)
    recent.keep(metrics, 1, 100.0, 0.02, response)

    assert recent.recall(page, 2, 100.0 + 0.019 * SHARE) is response
    assert recent.recall(page, 2, 100.0 + 0.021 * SHARE) is None
    assert recent.recall(page, 1, 100.9) is response
    assert recent.recall(metrics, 2, 100.0) is None
    recent.keep(page, 3, 100.0, CHEAP, response)
    assert recent.recall(page, 4, 100.0) is None
    recent.keep(page, 3, 100.0, 60.0, response)
    assert recent.recall(page, 4, 100.0 + MAX_AGE) is None
