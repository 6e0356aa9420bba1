"""A hold suspends restarts for a limited time, so that somebody can debug an application that fails its checks.

While liveness is held, its verdict is up. The checks run on, and their States, readiness and all other groups do not
change. Other groups cannot be held: readiness would route requests to an application that cannot respond to them, and
the kubelet cannot forget that startup has passed once, so that a hold of it would never end.

A hold is never stored. It ends at the latest with the process that runs the checks, so that nothing but a request
suspends restarts.
"""

from exporter.lines import format_time
from exporter.model import Hold
from exporter.text import replace_unprintable

MAX_HOLD = 3600.0
"""Seconds for which liveness can be held, all extensions included."""
MAX_WHY = 200
"""Characters of the reason for a hold, which every response about liveness repeats."""


class HoldError(ValueError):
    """The hold would be too long, or has no reason."""


def make_hold(current: Hold | None, seconds: float, why: str, now: float, wall: float) -> Hold:
    """Return a hold for so many seconds from now, in place of the current one. `now` is on the monotonic clock.

    Raises HoldError if it would last longer than MAX_HOLD since the first of them began.
    """
    why = replace_unprintable(why.strip())
    if not why or len(why) > MAX_WHY:
        raise HoldError(f"the reason for a hold needs 1 to {MAX_WHY} characters")
    if not 0 < seconds <= MAX_HOLD:
        raise HoldError(f"a hold lasts more than 0 and at most {MAX_HOLD:g} seconds")
    begun = current.begun if current and current.expires > now else now
    if now + seconds > begun + MAX_HOLD:
        latest = format_time(wall + begun + MAX_HOLD - now)
        raise HoldError(f"liveness is held already; that hold cannot be extended beyond {latest}")
    return Hold(why, wall + seconds, begun, now + seconds)
