"""Rendered responses, kept for a moment for equal requests.

The exposition is kept for a second, as long as nothing changes. With hundreds of checks, something changes before every
request. So a page is kept for a while even then, because open tabs must not take CPU time from the checks. It carries
the generation that it was rendered from.
"""

from collections.abc import Sequence
from urllib.parse import parse_qs

from exporter.render.filters import KEYS
from exporter.server.messages import Request, Response

MAX_RECENT = 4
"""Rendered responses that are kept."""
SHARE = 10
"""How many times as long as its rendering took a page is kept. Equal requests so take a tenth of a CPU at most."""
CHEAP = 0.01
"""Seconds of CPU time. A page that took less, such as one of a few checks, is not kept once something has changed."""
MAX_AGE = 1.0
"""Seconds for which a page is kept at most."""

_SHARED = {"/metrics": ("name[]",), "/": KEYS}
_CHECK_KEYS = ("still",)

Key = tuple[str, ...]


class Recent:
    """The latest rendered responses. Times are of the event loop."""

    def __init__(self) -> None:
        self._kept: dict[Key, tuple[object, float, Response]] = {}

    def recall(self, key: Key | None, version: object, now: float) -> Response | None:
        """Return the response to an equal request, if it is of this version or has not been kept for long."""
        if key is None or key not in self._kept:
            return None
        known, until, response = self._kept[key]
        return response if known == version or now < until else None

    def keep(self, key: Key, version: object, now: float, cost: float, response: Response) -> None:
        """Keep a response, whose rendering took `cost` seconds of CPU time."""
        self._kept.pop(key, None)
        if len(self._kept) >= MAX_RECENT:
            del self._kept[next(iter(self._kept))]
        expensive = key[1] != "/metrics" and cost > CHEAP
        self._kept[key] = version, now + min(MAX_AGE, SHARE * cost) if expensive else now, response


def make_key(request: Request) -> Key | None:
    """Return what a response depends on, apart from the time; None if it cannot serve another request."""
    names = _list_names(request.path)
    if names is None or request.method not in ("GET", "HEAD"):
        return None
    query = parse_qs(request.query, keep_blank_values=True)
    relevant = repr([(name, query[name]) for name in names if name in query])
    headers = request.header(b"accept"), request.header(b"accept-encoding")
    return request.method, request.path, relevant, *headers


def _list_names(path: str) -> Sequence[str] | None:
    """Return the parameters that a response depends on; None if responses to this path are not shared."""
    return _CHECK_KEYS if path.startswith("/check/") else _SHARED.get(path)
