"""The view of the past: `/events`."""

import json
import re
import time
from collections.abc import Callable
from urllib.parse import parse_qs

from flask import request

from exporter.config.moments import parse_since
from exporter.evaluation.answered import AnswerLog
from exporter.evaluation.judge import judge
from exporter.evaluation.store import Store
from exporter.model import Group, Vitals
from exporter.render import events, health
from exporter.server.answers import PLAIN, Answer, refuse
from exporter.server.negotiation import wants_json
from exporter.server.probes import requests_json

JSON = "application/json"

_LIMIT = f"limit must be a whole number from 1 to {events.MAX_EVENTS}"


def answer_events(store: Store, answers: AnswerLog, vitals: Callable[[], Vitals]) -> Answer:
    """Answer a request for `/events`."""
    snapshot = store.snapshot()
    now = time.time()
    query = parse_qs(request.query_string.decode("latin-1"), keep_blank_values=True)
    check = query.get("check", [None])[0]
    if check is not None and check not in snapshot.states:
        body = health.render_unknown(snapshot, judge(snapshot, Group.ALL), check)
        return refuse(snapshot, 404, body=body.encode())
    try:
        since = parse_since(query["since"][0], now, "since") if "since" in query else 0.0
        limit = _parse_limit(query["limit"][0]) if "limit" in query else events.MAX_EVENTS
    except ValueError as error:
        return refuse(snapshot, 400, body=f"400 Bad Request\n{error}\n".encode())
    selection = events.Selection(since, check, "runs" in query, limit)
    selected = events.select(snapshot, store.history, answers.entries(), selection)
    requested = requests_json(request.query_string.decode("latin-1"))
    if wants_json(request.headers.get("Accept", "")) if requested is None else requested:
        complete_since = max(store.history.complete_since, answers.complete_since)
        host = vitals().identity.host
        document = events.describe(snapshot, host, selected, check, until=now, complete_since=complete_since)
        body, content_type = json.dumps(document), JSON
    else:
        body, content_type = events.render_text(selected), PLAIN
    return Answer(200, body.encode(), snapshot.generation, content_type, headers=(("Vary", "Accept"),))


def _parse_limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= events.MAX_EVENTS:
        raise ValueError(_LIMIT)
    return int(text)
