"""A few threads, and a bounded queue of the jobs that wait for them.

The threads are daemons: one that hangs does not keep the process from exiting. concurrent.futures has neither a bound
nor threads of this sort.
"""

import threading
from collections import deque
from collections.abc import Callable


class Job:
    """Something that a thread does, and that raises nothing.

    `has_begun` is true if a thread is doing it, or is free to do it now.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.has_begun = False


class Threads:
    """A few daemon threads that do jobs in order. At most `max_waiting` jobs wait for a thread."""

    def __init__(self, count: int, max_waiting: int, name: str) -> None:
        self._max_waiting = max_waiting
        self._waiting: deque[Job] = deque()
        self._condition = threading.Condition()
        self._idle = 0
        for _ in range(count):
            threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, job: Job) -> bool:
        """Do this job when a thread is free. Return False if too many jobs are waiting."""
        with self._condition:
            if len(self._waiting) >= self._max_waiting + self._idle:
                return False
            job.has_begun = len(self._waiting) < self._idle
            self._waiting.append(job)
            self._condition.notify()
            return True

    def cancel(self, job: Job) -> None:
        """Do not start this job. A job that has started, or has ended, is not affected."""
        with self._condition:
            if job in self._waiting:
                self._waiting.remove(job)

    def _run(self) -> None:
        while True:
            self._take().work()

    def _take(self) -> Job:
        with self._condition:
            self._idle += 1
            while not self._waiting:
                self._condition.wait()
            self._idle -= 1
            job = self._waiting.popleft()
            job.has_begun = True
            return job
