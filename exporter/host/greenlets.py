"""Calls that block a thread, in an application whose server has replaced threads by greenlets.

gevent and eventlet patch the standard library: `threading.Thread` is then a greenlet, and all of them share one thread.
A call that nothing can interrupt would stop the whole application. So it is made in a thread of their own pools, and
only the greenlet that calls it waits.
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

MAX_THREADS = 32
"""Calls that block a thread at the same time under gevent. Further ones wait."""

_T = TypeVar("_T")


def call_blocking(function: Callable[[], _T]) -> _T:
    """Return what a function returns, or raise what it raises. Other greenlets run meanwhile."""
    monkey, patcher = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    result: _T
    if monkey and monkey.is_module_patched("threading"):
        result = _make_gevent_pool().apply(function)
    elif patcher and patcher.is_monkey_patched("thread"):
        from eventlet import tpool

        result = tpool.execute(function)
    else:
        result = function()
    return result


@cache
def _make_gevent_pool() -> Any:
    """Make a pool of threads. The application's own calls, such as name lookups, use another one."""
    from gevent.threadpool import ThreadPool

    return ThreadPool(MAX_THREADS)
