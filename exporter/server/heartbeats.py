"""The view of heartbeats: `POST /heartbeat/NAME`, with the token of the check.

A request has its parameter in the query, because the server discards bodies. A request without the token gets the same
response whether or not there is such a check.
"""

import re
from urllib.parse import parse_qs

from flask import request

from exporter.evaluation.store import Store
from exporter.server.answers import Answer, refuse

_CHALLENGE = ("WWW-Authenticate", "Bearer")
_RETRY = ("Retry-After", "1")
_EXIT_CODE = re.compile(r"[0-9]{1,3}")
_USAGE = "The only parameter is exitCode, from 0 to 255, for example /heartbeat/backup?exitCode=1."
_UNREAD = "the check could not read its token yet"


def answer_heartbeat(store: Store) -> Answer:
    """Receive a heartbeat for a check."""
    name = (request.view_args or {})["name"]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    probe = store.find_passive(name) if scheme.lower() == "bearer" else None
    accepted = probe.accepts(token.strip().encode("latin-1")) if probe else False
    if accepted is None:
        return refuse(store.snapshot(), 503, _RETRY, because=[_UNREAD])
    if not accepted:
        because = "wrong token, or no such check" if token else "no token"
        return refuse(store.snapshot(), 401, _CHALLENGE, because=[because])
    query = parse_qs(request.query_string.decode("latin-1"), keep_blank_values=True)
    (code,) = query.pop("exitCode", ["0"])[:1]
    if query or not _EXIT_CODE.fullmatch(code) or int(code) > 255:
        body = f"{_USAGE}\n".encode()
        return Answer(400, body, store.snapshot().generation, because=(_USAGE,), refused=True)
    store.receive(name, int(code))
    return Answer(200, b"ok\n", store.snapshot().generation)
