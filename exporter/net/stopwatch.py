"""Measures how long each phase of a request takes."""

import time


class Stopwatch:
    """The seconds that each phase took; a phase that occurs several times is summed."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        """Count the time since the previous lap as time of this phase."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now
