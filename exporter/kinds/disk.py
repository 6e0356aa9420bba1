"""The kind `disk`: how full a filesystem is."""

from typing import ClassVar

from pydantic import PrivateAttr

from exporter.host.path import PathError, PathQuery
from exporter.model import Deadline, Measurement, Outcome
from exporter.probe.check import Probe
from exporter.probe.options import Ratio, Text

_FIELDS = ("f_blocks", "f_bfree", "f_bavail", "f_frsize", "f_files", "f_ffree")


class Disk(Probe):
    """Checks the share of a filesystem's space and of its inodes that is in use, both counted as `df` does.

    A mount that does not respond within the timeout fails with the reason `timeout`. At most one process is blocked on
    a dead mount.
    """

    measures: ClassVar = {
        "disk_used_ratio": "Space in use as a share of the space that users may use, in the latest run.",
        "disk_available_bytes": "Space available to users, in the latest run.",
        "disk_size_bytes": "Size of the filesystem, in the latest run.",
        "disk_inodes_used_ratio": "Inodes in use as a share of all inodes, in the latest run.",
    }
    examples: ClassVar = (
        "- name: data\n  disk: {path: /var/lib/data, warnRatio: 0.8}",
        "- name: spool\n  disk: {path: /var/spool, failInodesRatio: 0.9}",
    )

    path: Text = "/"
    """Any path on the filesystem."""
    fail_ratio: Ratio = 0.9
    """Fails when the used share of the space reaches this value."""
    warn_ratio: Ratio | None = None
    """Warns when the used share of the space reaches this value."""
    fail_inodes_ratio: Ratio | None = None
    """Fails when the used share of the inodes reaches this value. Some filesystems, such as btrfs, count no inodes."""
    warn_inodes_ratio: Ratio | None = None
    """Warns when the used share of the inodes reaches this value."""

    _query: PathQuery = PrivateAttr(default_factory=lambda: PathQuery("statvfs", *_FIELDS))

    @property
    def target(self) -> str:
        return self.path

    def liveness_risk(self) -> str | None:
        return "a restart rarely fixes a full or broken disk"

    def probe(self, deadline: Deadline) -> Outcome:
        try:
            blocks, free, available, size, files, files_free = self._query.run(self.path, deadline)
        except PathError as error:
            return error.outcome()
        used = blocks - free
        ratio = used / (used + available) if used + available else 0.0
        space = Outcome.measured(
            f"{ratio * 100:.0f} % of {self.path} is in use, {available * size / 2**30:.1f} GiB available",
            Measurement("disk_used_ratio", ratio, self.warn_ratio, self.fail_ratio),
            Measurement("disk_available_bytes", available * size),
            Measurement("disk_size_bytes", blocks * size),
        )
        return Outcome.worst(space, self._compare_inodes(files, files_free)) if files else space

    def _compare_inodes(self, files: int, free: int) -> Outcome:
        ratio = 1 - free / files
        return Outcome.measured(
            f"{ratio * 100:.0f} % of its inodes",
            Measurement("disk_inodes_used_ratio", ratio, self.warn_inodes_ratio, self.fail_inodes_ratio),
        )

    def close(self) -> None:
        self._query.close()
