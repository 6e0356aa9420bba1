"""The views for people: the status page, and a page for each check."""

import time
from collections.abc import Callable, Mapping

from flask import request

from exporter.evaluation.answered import AnswerLog
from exporter.evaluation.judge import judge
from exporter.evaluation.store import Store
from exporter.model import Group, Snapshot, Vitals
from exporter.render import check_page, filters, health, page, shell
from exporter.server.answers import Answer, refuse
from exporter.server.negotiation import compress
from exporter.server.probes import PROBE_PATHS

LEVEL = 6  # of compression: a page repeats itself a lot, and level 1 makes it half as large again


def answer_page(store: Store, vitals: Callable[[], Vitals], next_runs: Callable[[], Mapping[str, float]]) -> Answer:
    """Answer a request for the status page."""
    snapshot = store.snapshot()
    text = page.render(
        snapshot,
        PROBE_PATHS,
        time.time(),
        past=page.Past(store.history, next_runs()),
        chosen=filters.parse(request.args),
        root=request.script_root,
        vitals=vitals(),
    )
    return _make_html(text, snapshot)


def answer_check(
    store: Store, vitals: Callable[[], Vitals], next_runs: Callable[[], Mapping[str, float]], answers: AnswerLog
) -> Answer:
    """Answer a request for the page of a check."""
    snapshot, name = store.snapshot(), request.path.removeprefix("/check/")
    state = snapshot.states.get(name)
    if state is None:
        body = health.render_unknown(snapshot, judge(snapshot, Group.ALL), name)
        return refuse(snapshot, 404, body=body.encode())
    text = check_page.render(
        snapshot,
        state,
        page.Past(store.history, next_runs()),
        answers.entries(),
        time.time(),
        root=request.script_root,
        live=not filters.parse(request.args).still,
        vitals=vitals(),
    )
    return _make_html(text, snapshot)


def _make_html(text: str, snapshot: Snapshot) -> Answer:
    policy = ("Content-Security-Policy", shell.CONTENT_SECURITY_POLICY)
    answer = Answer(200, text.encode(), snapshot.generation, "text/html; charset=utf-8", headers=(policy,))
    return compress(answer, request.headers.get("Accept-Encoding", ""), "Accept-Encoding", LEVEL)
