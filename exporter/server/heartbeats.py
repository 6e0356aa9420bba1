"""The view of heartbeats: `POST /heartbeat/NAME`, with the token of the check.

A request has its parameter in the query, because the server discards bodies. A request without the token gets the same
response whether or not there is such a check: while the token of any check cannot be read, 503.
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
_UNREAD = "the token of a check has not been read yet, or cannot be read"


def answer_heartbeat(store: Store) -> Answer:
    """Receive a heartbeat for a check."""
    name = (request.view_args or {})["name"]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    probe = store.find_passive(name) if scheme.lower() == "bearer" else None
    if not (probe and probe.accepts(token.strip().encode("latin-1"))):
        if token and store.has_unread_token():
            body = f"503 Service Unavailable: {_UNREAD}\n".encode()
            return refuse(store.snapshot(), 503, _RETRY, because=[_UNREAD], body=body)
        because = "wrong token, or no such check" if token else "no token"
        return refuse(store.snapshot(), 401, _CHALLENGE, because=[because])
    query = parse_qs(request.query_string.decode("latin-1"), keep_blank_values=True)
    code, *others = query.pop("exitCode", ["0"])
    if query or others or not _EXIT_CODE.fullmatch(code) or int(code) > 255:
        return refuse(store.snapshot(), 400, because=[_USAGE], body=f"{_USAGE}\n".encode())
    store.receive(name, int(code))
    return Answer(200, b"ok\n", store.snapshot().generation)
