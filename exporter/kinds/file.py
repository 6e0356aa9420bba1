"""The kind `file`: whether a file exists, is recent enough and has a plausible size."""

import stat
import time
from collections.abc import Callable
from typing import ClassVar, Self

from pydantic import PrivateAttr, model_validator

from exporter.host.mounts import find_mount
from exporter.host.path import PathError, PathQuery
from exporter.host.reader import name_kind
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.probe.check import Probe
from exporter.probe.of import Of, name_target, open_container_of
from exporter.probe.options import Count, FilePath, Seconds


class File(Probe):
    """Checks that a file exists and is recent enough, such as a heartbeat or a backup.

    The age is the time since the last write to the file (its mtime); a time in the future counts as an age of 0. A
    symbolic link is followed; a directory, a FIFO, a socket and a device fail. A mount that does not respond within the
    timeout fails with the reason `timeout`. At most one process is blocked on a dead mount.
    """

    measures: ClassVar = {
        "file_age_seconds": "Time since the last write to the file, in the latest run.",
        "file_size_bytes": "Size of the file, in the latest run.",
    }
    examples: ClassVar = (
        "- name: worker\n  file: {path: /run/app/heartbeat, maxAgeSeconds: 60}\n  groups: [liveness, startup]",
        "- name: healthy\n  file: {path: /tmp/healthy, of: {process: app}}\n  groups: [liveness, startup]",
        "- name: backup\n  file: {path: /backup/latest.tar, maxAgeSeconds: 90000, minBytes: 1024}\n  groups: []",
    )

    path: FilePath
    """Path of the file in the exporter's own container, or in that of `of`."""
    of: Of | None = None
    """Names a process in whose container to find the path, in place of the exporter's own. Requires a process namespace
    that both containers share."""
    max_age_seconds: Seconds | None = None
    """Fails when the age reaches this number of seconds."""
    min_bytes: Count | None = None
    """Fails when the file is smaller than this number of bytes."""
    max_bytes: Count | None = None
    """Fails when the file is larger than this number of bytes."""

    _query: PathQuery = PrivateAttr(default_factory=lambda: PathQuery("stat", "st_mode", "st_mtime_ns", "st_size"))

    @model_validator(mode="after")
    def _validate_sizes(self) -> Self:
        if self.min_bytes is not None and self.max_bytes is not None and self.min_bytes > self.max_bytes:
            raise ValueError("minBytes must not be above maxBytes")
        return self

    @property
    def target(self) -> str:
        return name_target(self.path, self.of)

    def probe(self, deadline: Deadline, wall: Callable[[], float] = time.time) -> Outcome:
        try:
            with open_container_of(self.of, deadline) as container:
                mode, written, size, *place = self._query.run(
                    self.path, deadline, container.root if container else None
                )
                mount = find_mount(place[0], container.folder) if container else None
        except PathError as error:
            return error.outcome()
        if mount is not None and mount.type == "proc":
            message = f"{self.path} is in the {mount}: the time of such a file is that of the check itself"
            raise ProbeError(Reason.MISSING, f"{message}, so name a file that the application writes")
        if not stat.S_ISREG(mode):
            return Outcome.failed(Reason.MISSING, f"{self.path} is {name_kind(mode)}, not a regular file")
        age = Measurement("file_age_seconds", max(0.0, wall() - written / 1e9), None, self.max_age_seconds)
        return Outcome.worst(
            Outcome.measured(f"{self.path} was last written {age.quantity} ago", age),
            Outcome.counted(f"its size is {size} bytes", "file_size_bytes", size, self.min_bytes, self.max_bytes),
        )

    def close(self) -> None:
        self._query.close()
