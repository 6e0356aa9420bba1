"""The form of log lines: logfmt, as in the components of Prometheus, or JSON.

It imports as little as possible, because the keeper writes log lines too.
"""

import time

TYPE_CHECKING = False  # as in exporter/__init__.py
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@+,")


def format_time(moment: float) -> str:
    """Return a Unix time in the format of RFC 3339, in UTC with milliseconds."""
    seconds, fraction = divmod(moment, 1)
    carry, microseconds = divmod(round(fraction * 1_000_000), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds + carry))}.{microseconds // 1000:03}Z"


def format_logfmt(pairs: "Mapping[str, object]", quote: "Callable[[str], str]") -> str:
    """Return key=value pairs on one line. `quote` encodes a value as a JSON string."""
    return " ".join(f"{key}={_quote(str(value), quote)}" for key, value in pairs.items())


def _quote(text: str, quote: "Callable[[str], str]") -> str:
    return text if text and _BARE.issuperset(text) else quote(text)
