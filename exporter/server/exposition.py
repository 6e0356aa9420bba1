"""The answer to a scrape of `/metrics`, for the exporter's own server and for the Flask application alike."""

from collections.abc import Callable
from urllib.parse import parse_qs

from exporter.evaluation.store import Store
from exporter.model import Vitals
from exporter.render import metrics
from exporter.server.answers import Answer, AnswerCounter
from exporter.server.negotiation import choose_format, compress


class Exposition:
    """Answers scrapes. Safe to use from several threads."""

    def __init__(self, store: Store, counter: AnswerCounter, vitals: Callable[[], Vitals]) -> None:
        self._store = store
        self._counter = counter
        self._vitals = vitals

    def answer(self, query: str, accept: str, accept_encoding: str) -> Answer:
        """Return the answer to a request with this query and these headers."""
        snapshot = self._store.snapshot()
        content_type = choose_format(accept)
        names = parse_qs(query, keep_blank_values=True).get("name[]", ())
        body = metrics.render(snapshot, self._vitals(), self._counter.counts(), content_type=content_type, names=names)
        answer = Answer(200, body, snapshot.generation, content_type)
        return compress(answer, accept_encoding, "Accept, Accept-Encoding")
