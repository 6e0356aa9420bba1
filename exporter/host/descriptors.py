"""The limit of open files of this process: raised at the start, with a reserve for the listeners.

Theory of operation. The kernel refuses a new descriptor whose number reaches the soft limit (RLIMIT_NOFILE); open ones
stay valid. Usually the soft limit is RESERVE below what the process may have. When `accept` fails because checks and
clients have used up all descriptors, the listener raises the limit for the moment of one `accept`. So a probe is
answered even then.

Children inherit the soft limit. A child's own limit could only be changed after it has started, when it may already
have read it; a command that needs a lower limit sets it with `ulimit -n`.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

MAX_DESCRIPTORS = 65536
"""The exporter asks for no more, because some programs close all possible descriptors when they start. A higher limit
is kept."""
RESERVE = 32
"""Descriptors that only listeners can use; an eighth of the limit if that is less."""
PER_RUN = 4  # pipes of a command, its pidfd and a selector; a network check needs one or two
BASE = 100  # listeners, connections of clients, log and files


@dataclass(slots=True)
class Descriptors:
    """Limits of the number of open files."""

    usual: int
    """The soft limit while no listener uses the reserve."""
    total: int
    """The soft limit while one does."""

    def suffice(self, workers: int) -> bool:
        """Return whether so many checks can run at the same time."""
        return estimate_need(workers) <= self.usual


_limits = Descriptors(0, 0)  # until they are raised, there is no reserve


def raise_limit() -> Descriptors:
    """Raise the soft limit as far as allowed and useful, and keep the reserve. Returns the limits.

    If the system refuses that, the limits stay as they are.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    _limits.total = max(soft, allowed, _limits.total)
    _limits.usual = _limits.total - min(RESERVE, _limits.total // 8)
    _set_soft_limit(_limits.usual)
    return _limits


@contextmanager
def reserve() -> Iterator[None]:
    """Let descriptors opened in the block use the reserve. Without `raise_limit` before, do nothing.

    Keep the block short, because other threads can use the reserve meanwhile.
    """
    if not _limits.total:
        yield
        return
    _set_soft_limit(_limits.total)
    try:
        yield
    finally:
        _set_soft_limit(_limits.usual)


def estimate_need(workers: int) -> int:
    """Return how many descriptors the process needs if so many checks run at the same time."""
    return BASE + PER_RUN * workers


def _set_soft_limit(limit: int) -> None:
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
