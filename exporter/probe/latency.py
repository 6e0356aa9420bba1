"""The latency of an endpoint, measured in the same way by every kind that sends a request."""

import time
from collections.abc import Mapping

from exporter.model import ENDPOINT_LATENCY, Measurement

LATENCY: Mapping[str, str] = {
    ENDPOINT_LATENCY: "Time the endpoint took to respond in the latest run, in seconds, name resolution included."
}
"""The entry for a kind's `measures`."""


class LatencyTimer:
    """A stopwatch that starts when it is created."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def stop(self, warn: float | None = None, fail: float | None = None) -> Measurement:
        """Return the measurement of the time since the start, with its limits in seconds."""
        return Measurement(ENDPOINT_LATENCY, time.perf_counter() - self._started, warn, fail)
