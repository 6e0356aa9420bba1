"""A prober that requests one path again and again, as the kubelet does, and records every answer."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support import Answer, eventually, get

REFUSED = 0
"""Recorded when no answer came: the connection was refused or broke."""


class Prober:
    """Requests a URL until it is stopped. It waits for each answer, however long that takes."""

    def __init__(self, url: str, fetch: Callable[[str], Answer] = get) -> None:
        self.url = url
        self.codes: list[int] = []
        self._fetch = fetch
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._probe, daemon=True)
        self._thread.start()

    def wait_for_answers(self, count: int = 10) -> None:
        """Wait for this number of further answers: what happens now does not prevent them."""
        enough = len(self.codes) + count
        eventually(lambda: len(self.codes) >= enough, what=f"{count} answers of {self.url}")

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _probe(self) -> None:
        while not self._stopped.wait(0.05):
            try:
                self.codes.append(self._fetch(self.url).status)
            except (OSError, http.client.HTTPException):
                self.codes.append(REFUSED)


@contextmanager
def probing(url: str, fetch: Callable[[str], Answer] = get) -> Iterator[Prober]:
    """A prober that is stopped at the end; every answer was 200."""
    prober = Prober(url, fetch)
    try:
        yield prober
    finally:
        prober.stop()
    assert set(prober.codes) == {200}
