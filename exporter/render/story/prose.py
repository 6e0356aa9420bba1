"""The parts of sentences: times, durations, numbers and lists."""

from collections.abc import Sequence
from datetime import UTC, datetime

from exporter.quantities import format_seconds

MAX_NAMES = 5
"""Names in a sentence."""

Line = tuple[float, str]
"""A time and the sentences about it."""


class Moments:
    """Writes times in UTC. Those of the given day have no date."""

    def __init__(self, day: float) -> None:
        self._day = _utc(day).date()

    def write(self, moment: float) -> str:
        """Return a time to the second."""
        utc = _utc(moment)
        return f"{utc:%H:%M:%S}" if utc.date() == self._day else f"{utc:%Y-%m-%d %H:%M:%S}"

    def write_interval(self, begin: float, end: float) -> str:
        """Return two times as those between which something happened."""
        return f"between {self.write(begin)} and {self.write(end)}"


def write_date(moment: float) -> str:
    """Return a time to the second, with its date."""
    return f"{_utc(moment):%Y-%m-%d %H:%M:%S}"


def write_duration(begin: float, end: float) -> str:
    """Return the time between two moments as the difference of what a reader sees of them: to the second."""
    seconds = int(end) - int(begin)
    return format_seconds(seconds) if seconds > 0 else "less than 1 s"


def enumerate_names(names: Sequence[str], maximum: int = MAX_NAMES) -> str:
    """Return names as a list: `a, b and c`, or `a, b and 7 more`."""
    others = len(names) - maximum
    shown = [*names[:maximum], f"{others} more"] if others > 0 else [*names]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def end_sentence(text: str) -> str:
    """Return a text with a full stop, unless it ends like a sentence."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _utc(moment: float) -> datetime:
    return datetime.fromtimestamp(int(moment), UTC)
