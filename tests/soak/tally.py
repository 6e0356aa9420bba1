"""What the clients of the soak have reported so far."""

import time
from collections import Counter


class Tally:
    """Counts requests, wrong verdicts and requests without a response, and keeps the latencies of probes."""

    def __init__(self) -> None:
        self.wrong: dict[str, list[float]] = {}  # Unix times, by the description of the wrong verdict
        self.shed = 0  # answered with 503 because the exporter was busy
        self.unanswered = 0
        self.storms: list[tuple[float, float, str]] = []  # begin, end, kind
        self.requests: Counter[str] = Counter()
        self.latencies: dict[str, list[float]] = {"/livez": [], "/readyz": []}
        self.recent: dict[str, list[float]] = {"/livez": [], "/readyz": []}  # since the previous sample
        self.worst: tuple[float, float, str] = (0.0, 0.0, "")  # seconds, time, path

    def add_probe(self, at: float, path: str, seconds: float, status: int, *, settled: bool) -> None:
        """Add the result of a probe, which is always 200 once the checks have settled, and of /livez before that."""
        self.requests[path] += 1
        self.latencies[path].append(seconds)
        self.recent[path].append(seconds)
        self.worst = max(self.worst, (seconds, at, path))
        if status == 0:
            self.unanswered += 1
        elif status != 200 and (settled or path == "/livez"):
            self.add_wrong(f"{path} returned {status}", at)

    def add_scrape(self, path: str, status: int, right: bool, *, settled: bool) -> None:
        """Add the result of a scrape. Some checks always fail, so /healthz returns 503."""
        self.requests[path] += 1
        expected = 503 if path.startswith("/healthz") else 200
        if status == 0:
            self.unanswered += 1
        elif status == 503 and expected == 200:
            self.shed += 1
        elif settled and (status != expected or not right):
            self.add_wrong(f"{path} returned {status}{'' if right else ' without liveness'}", time.time())

    def is_without_verdict(self, status: int, body: bytes) -> bool:
        """Count a response without a verdict: none at all, or the refusal of a busy exporter, which is not JSON."""
        self.unanswered += status == 0
        busy = status == 503 and not body.startswith(b"{")
        self.shed += busy
        return status == 0 or busy

    def add_wrong(self, text: str, at: float) -> None:
        self.wrong.setdefault(text, []).append(at)

    def count_wrong(self) -> int:
        return sum(map(len, self.wrong.values()))
