"""The view of holds: `POST /-/hold`.

A request has its parameters in the query, because the server discards bodies. A browser sends the header Origin with
every POST. Such a request is refused: otherwise any web page could suspend restarts through the browser of somebody who
has access.
"""

from urllib.parse import parse_qs

from flask import request

from exporter.arguments import parse_seconds
from exporter.evaluation.hold import HoldError
from exporter.evaluation.store import Store
from exporter.render.health import describe_hold
from exporter.server.answers import Answer

OFF = "Holds are off; --web.enable-hold turns them on."
_BROWSER = "A request with the header Origin, as browsers send it, cannot suspend restarts."
_USAGE = "The parameters are for and why, for example /-/hold?for=15m&why=debugging; or end, which ends a hold."


def answer_hold(store: Store, *, enabled: bool) -> Answer:
    """Suspend restarts, or end that."""
    if not enabled:
        return _answer(store, 403, OFF)
    if request.headers.get("Origin"):
        return _answer(store, 403, _BROWSER)
    query = parse_qs(request.query_string.decode("latin-1"), keep_blank_values=True)
    if query.keys() == {"end"}:
        text = "restarts are no longer suspended" if store.release() else "restarts are not suspended"
        return _answer(store, 200, text)
    if query.keys() != {"for", "why"} or any(len(values) > 1 for values in query.values()):
        return _answer(store, 400, _USAGE)
    try:
        hold = store.hold(_parse(query["for"][0]), query["why"][0])
    except HoldError as error:
        return _answer(store, 400, str(error))
    return _answer(store, 200, describe_hold(hold, detailed=True))


def _parse(text: str) -> float:
    try:
        return parse_seconds(text)
    except ValueError:
        raise HoldError("the duration of a hold is a number of seconds, such as 900, 900s or 15m") from None


def _answer(store: Store, status: int, text: str) -> Answer:
    because = () if status == 200 else (text,)
    return Answer(status, f"{text}\n".encode(), store.snapshot().generation, because=because, refused=status != 200)
