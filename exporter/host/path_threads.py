"""Threads that make system calls on paths, any of which may block forever.

Theory of operation. A system call on a mount that no longer responds cannot be interrupted. So another thread makes the
call, and the caller waits for it no longer than its deadline. A thread that does not come back is written off.
Until it does come back, every further call on its path fails at once, so a dead mount costs few threads, however often
its files are read.

At most MAX_THREADS threads exist. If all of them are written off, every call fails at once; if some are only busy, a
call waits for one of them. Threads without work end after a while, and before a fork, because threads do not survive
it.
"""

import errno
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar, cast

from exporter.host.greenlets import call_blocking
from exporter.model import Deadline

MAX_THREADS = 32
IDLE = 10.0  # seconds after which a thread without work ends

_T = TypeVar("_T")


class _Task:
    """One call on a path, and the callers that wait for it."""

    def __init__(self, path: str, function: Callable[[], object]) -> None:
        self.path = path
        self._function = function
        self.done = threading.Event()
        self.result: object = None
        self.error: BaseException | None = None
        self.started = self.abandoned = False

    @property
    def stuck(self) -> bool:
        """Whether a thread has been written off for this call."""
        return self.started and self.abandoned

    def run(self) -> None:
        """Call the function, and keep its result or its exception."""
        try:
            self.result = call_blocking(self._function)
        except BaseException as error:  # noqa: BLE001  # the caller gets it
            self.error = error
        self.done.set()


class PathThreads:
    """Threads that make system calls on paths, each of which may block forever."""

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        self._max = max_threads
        self.reset()

    def reset(self) -> None:
        """Forget all threads, which a forked process does not have."""
        self._news = threading.Condition()
        self._tasks: dict[tuple[str, str], _Task] = {}  # waiting and under way
        self._queue: deque[tuple[tuple[str, str], _Task]] = deque()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._ending = False

    def run(self, path: str, function: Callable[[], _T], name: str, deadline: Deadline) -> _T:
        """Call a function that makes system calls on a path, and return what it returns or raise what it raises.

        A caller with the same path and `name` waits for a call that is already under way. Raises OSError, which is a
        TimeoutError if the deadline passes, or if an earlier call on the path has not come back.
        """
        with self._news:
            task = self._join(path, function, name)
        if not task.done.wait(max(0.0, deadline.remaining())):
            self._abandon((path, name), task)
            raise TimeoutError(errno.ETIMEDOUT, "no response in time", path)
        if isinstance(task.error, OSError):  # a new one, because several threads may raise it
            raise type(task.error)(*task.error.args[:2], path)
        if task.error is not None:
            raise task.error
        return cast("_T", task.result)

    def retire(self) -> None:
        """End the threads, unless one of them has work, and wait for their end. To be called before a fork."""
        with self._news:
            if self._tasks:
                return
            self._ending, threads = True, tuple(self._threads)
            self._news.notify_all()
        for thread in threads:
            thread.join(1.0)
        with self._news:
            self._ending = False

    def count(self) -> int:
        """Return the number of threads now."""
        return len(self._threads)

    def _join(self, path: str, function: Callable[[], object], name: str) -> _Task:
        key = (path, name)
        if any(task.stuck and task.path == path for task in self._tasks.values()):
            raise TimeoutError(errno.ETIMEDOUT, "still no response", path)
        if key not in self._tasks:
            task = _Task(path, function)
            self._find_thread(path)
            self._tasks[key] = task
            self._queue.append((key, task))
        return self._tasks[key]

    def _find_thread(self, path: str) -> None:
        """Wake a thread, start one, or leave the task to a busy one. Raises OSError if there cannot be a thread."""
        if self._idle > len(self._queue):
            self._news.notify()
        elif len(self._threads) < self._max:
            self._start(path)
        elif self._all_stuck():
            raise OSError(errno.EAGAIN, f"not tried, because {len(self._threads)} other files do not respond", path)

    def _start(self, path: str) -> None:
        thread = threading.Thread(target=self._work, name="reader", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system cannot start a thread
            if self._all_stuck():
                raise OSError(errno.EAGAIN, str(error), path) from None
        else:
            self._threads.add(thread)

    def _all_stuck(self) -> bool:
        return sum(task.stuck for task in self._tasks.values()) >= len(self._threads)

    def _abandon(self, key: tuple[str, str], task: _Task) -> None:
        with self._news:
            task.abandoned = True
            if not task.started and self._tasks.get(key) is task:  # every thread was busy; the next caller tries again
                self._queue.remove((key, task))
                del self._tasks[key]

    def _work(self) -> None:
        news = self._news
        while True:
            with news:
                if not self._queue and not self._wait():
                    self._threads.discard(threading.current_thread())
                    return
                key, task = self._queue.popleft()
                task.started = True
            task.run()
            with news:
                self._tasks.pop(key, None)

    def _wait(self) -> bool:
        """Wait for a task, and return whether one is there."""
        until = time.monotonic() + IDLE
        self._idle += 1
        while not self._queue and not self._ending and (remaining := until - time.monotonic()) > 0:
            self._news.wait(remaining)
        self._idle -= 1
        return bool(self._queue)
