"""The kind `disk`: how full a filesystem is."""

from typing import Annotated, ClassVar

from pydantic import Field, PrivateAttr

from exporter.host.path import PathError, PathQuery
from exporter.model import Deadline, Measurement, Outcome
from exporter.probe.check import Probe
from exporter.probe.options import Ratio

_FIELDS = ("f_blocks", "f_bfree", "f_bavail", "f_frsize", "f_files", "f_ffree")


class Disk(Probe):
    """The part of a filesystem's space that is in use, and of its inodes, both counted as `df` does.

    A mount that does not answer within the timeout fails with the reason `timeout`. While an asking process hangs on
    it, no second one is started.
    """

    measures: ClassVar = {
        "disk_used_ratio": "Space in use, as a part of what users may use, as of the latest run.",
        "disk_available_bytes": "Space available to users, as of the latest run.",
        "disk_size_bytes": "Size of the filesystem, as of the latest run.",
        "disk_inodes_used_ratio": "Inodes in use, as a part of all there can be, as of the latest run.",
    }

    examples: ClassVar = (
        "- name: data\n  disk: {path: /var/lib/data, warnRatio: 0.8}",
        "- name: spool\n  disk: {path: /var/spool, failInodesRatio: 0.9}",
    )

    path: Annotated[str, Field(min_length=1)] = "/"
    """Any path on the filesystem."""
    fail_ratio: Ratio = 0.9
    """Used part at and above which the check fails."""
    warn_ratio: Ratio | None = None
    """Used part at and above which it warns."""
    fail_inodes_ratio: Ratio | None = None
    """Used part of the inodes at and above which the check fails. Some filesystems, such as btrfs, count none."""
    warn_inodes_ratio: Ratio | None = None
    """Used part of the inodes at and above which it warns."""

    _query: PathQuery = PrivateAttr(default_factory=lambda: PathQuery("statvfs", *_FIELDS))

    @property
    def target(self) -> str:
        return self.path

    def liveness_risk(self) -> str | None:
        return "a full or dead disk is rarely cured by a restart"

    def probe(self, deadline: Deadline) -> Outcome:
        try:
            blocks, free, available, size, files, files_free = self._query.run(self.path, deadline)
        except PathError as error:
            return error.outcome()
        used = blocks - free
        ratio = used / (used + available) if used + available else 0.0
        space = Outcome.measured(
            f"{ratio:.0%} of {self.path} is in use, {available * size / 2**30:.1f} GiB available",
            Measurement("disk_used_ratio", ratio, self.warn_ratio, self.fail_ratio),
            Measurement("disk_available_bytes", available * size),
            Measurement("disk_size_bytes", blocks * size),
        )
        return Outcome.worst(space, self._inodes(files, files_free)) if files else space

    def _inodes(self, files: int, free: int) -> Outcome:
        ratio = 1 - free / files
        return Outcome.measured(
            f"{ratio:.0%} of its inodes",
            Measurement("disk_inodes_used_ratio", ratio, self.warn_inodes_ratio, self.fail_inodes_ratio),
        )

    def close(self) -> None:
        self._query.close()
