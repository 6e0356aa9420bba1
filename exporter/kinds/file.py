"""The kind `file`: whether a file is there, is written often enough and has a likely size."""

import stat
import time
from collections.abc import Callable
from typing import Annotated, ClassVar, Self

from pydantic import Field, PrivateAttr, model_validator

from exporter.host.path import PathError, PathQuery
from exporter.model import Deadline, Measurement, Outcome, Reason
from exporter.probe.check import Probe

_Bytes = Annotated[int, Field(strict=True, ge=0)]


class File(Probe):
    """A file that proves by being there, and by its age, that something works: a heartbeat, a backup, a queue's lock.

    The age is the time since the file was last written (its mtime); a time in the future is an age of 0. A symbolic
    link is followed, and a directory is no file. A mount that does not answer within the timeout fails with the reason
    `timeout`. While an asking process hangs on it, no second one is started.
    """

    measures: ClassVar = {
        "file_age_seconds": "Time since the file was last written, as of the latest run.",
        "file_size_bytes": "Size of the file, as of the latest run.",
    }

    examples: ClassVar = (
        "- name: worker\n  file: {path: /run/app/heartbeat, maxAgeSeconds: 60}\n  groups: [liveness]",
        "- name: backup\n  file: {path: /backup/latest.tar, maxAgeSeconds: 90000, minBytes: 1024}\n  groups: []",
    )

    path: Annotated[str, Field(min_length=1)]
    """Path of the file, as the exporter's own container sees it."""
    max_age_seconds: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None
    """Age at and above which the check fails."""
    min_bytes: _Bytes | None = None
    """The least size that passes."""
    max_bytes: _Bytes | None = None
    """The greatest size that passes."""

    _query: PathQuery = PrivateAttr(default_factory=lambda: PathQuery("stat", "st_mode", "st_mtime_ns", "st_size"))

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if self.min_bytes is not None and self.max_bytes is not None and self.min_bytes > self.max_bytes:
            raise ValueError("minBytes must not be above maxBytes")
        return self

    @property
    def target(self) -> str:
        return self.path

    def probe(self, deadline: Deadline, wall: Callable[[], float] = time.time) -> Outcome:
        try:
            mode, written, size = self._query.run(self.path, deadline)
        except PathError as error:
            return error.outcome()
        if stat.S_ISDIR(mode):
            return Outcome.failed(Reason.MISSING, f"{self.path} is a directory, and no file")
        age = max(0.0, wall() - written / 1e9)
        return Outcome.worst(
            Outcome.measured(
                f"{self.path} was written {age:.1f} s ago",
                Measurement("file_age_seconds", age, None, self.max_age_seconds),
            ),
            Outcome.counted(f"it holds {size} bytes", "file_size_bytes", size, self.min_bytes, self.max_bytes),
        )

    def close(self) -> None:
        self._query.close()
