"""The kind `disk`: how full a filesystem is."""

from typing import ClassVar

from pydantic import PrivateAttr

from exporter.host.mounts import THREAD, find_mount
from exporter.host.path import PathError, PathQuery
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason, Status
from exporter.probe.check import Probe
from exporter.probe.of import Of, name_target, open_container_of
from exporter.probe.options import FilePath, Ratio

_FIELDS = ("f_blocks", "f_bfree", "f_bavail", "f_frsize", "f_files", "f_ffree")


class Disk(Probe):
    """Checks the share of a filesystem's space and of its inodes that is in use, both counted as `df` does.

    The summary names the filesystem that was measured. If a volume is not mounted, that is the one that contains the
    mount point, which may have plenty of space: `mountPoint: true` makes such a check fail. A mount that does not
    respond within the timeout fails with the reason `timeout`. At most one process is blocked on a dead mount.
    """

    measures: ClassVar = {
        "disk_used_ratio": "Space in use as a share of the space that users may use, in the latest run.",
        "disk_available_bytes": "Space available to users, in the latest run.",
        "disk_size_bytes": "Size of the filesystem, in the latest run.",
        "disk_inodes_used_ratio": "Inodes in use as a share of all inodes, in the latest run.",
    }
    examples: ClassVar = (
        "- name: data\n  disk: {path: /var/lib/data, mountPoint: true, warnRatio: 0.8}",
        "- name: nginx-cache\n  disk: {path: /var/cache/nginx, of: {process: nginx}}",
        "- name: spool\n  disk: {path: /var/spool, failInodesRatio: 0.9}",
    )

    path: FilePath = "/"
    """Any path on the filesystem."""
    of: Of | None = None
    """Names a process in whose container to find the path, in place of the exporter's own. Requires a process namespace
    that both containers share."""
    mount_point: bool = False
    """Fails when no filesystem is mounted at exactly this path. Bind mounts count, such as the volumes of a pod."""
    fail_ratio: Ratio = 0.9
    """Fails when the used share of the space reaches this value."""
    warn_ratio: Ratio | None = None
    """Warns when the used share of the space reaches this value."""
    fail_inodes_ratio: Ratio | None = None
    """Fails when the used share of the inodes reaches this value. Some filesystems, such as btrfs, count no inodes; the
    result is then `unknown`."""
    warn_inodes_ratio: Ratio | None = None
    """Warns when the used share of the inodes reaches this value."""

    _query: PathQuery = PrivateAttr(default_factory=lambda: PathQuery("statvfs", *_FIELDS))

    @property
    def target(self) -> str:
        return name_target(self.path, self.of)

    def liveness_risk(self) -> str | None:
        return "a restart rarely fixes a full or broken disk"

    def probe(self, deadline: Deadline) -> Outcome:
        try:
            with open_container_of(self.of, deadline) as container:
                root, process = (container.root, container.folder) if container else (None, THREAD)
                *numbers, mount_id, is_mount_point = self._query.run(self.path, deadline, root)
                mount = find_mount(mount_id, process) if mount_id else None
        except PathError as error:
            return error.outcome()
        if self.mount_point and mount is None:
            raise ProbeError(
                Reason.MISSING, f"whether {self.path} is a mount point is not known: /proc does not list the mount"
            )
        if self.mount_point and not is_mount_point:
            message = f"nothing is mounted at {self.path}: it is a folder of the filesystem {mount}"
            return Outcome.failed(Reason.MISSING, message)
        return self._compare(f" ({mount})" if mount else "", *numbers)

    def _compare(
        self, where: str, blocks: int, free: int, available: int, size: int, files: int, files_free: int
    ) -> Outcome:
        if not blocks:
            message = f"the filesystem of {self.path}{where} reports no size, so its use cannot be measured"
            raise ProbeError(Reason.MISSING, message)
        used = blocks - free
        ratio = used / (used + available) if used + available else 1.0  # all of it is reserved for root
        use = Measurement("disk_used_ratio", ratio, self.warn_ratio, self.fail_ratio)
        room = Measurement("disk_available_bytes", available * size)
        message = f"{use.quantity} of {self.path}{where} is in use, {room.quantity} available"
        space = Outcome.measured(message, use, room, Measurement("disk_size_bytes", blocks * size))
        if files:
            return Outcome.worst(space, self._compare_inodes(files, files_free))
        if self.fail_inodes_ratio is None and self.warn_inodes_ratio is None:
            return space
        message = "it counts no inodes: remove failInodesRatio and warnInodesRatio"
        return Outcome.worst(space, Outcome(Status.UNKNOWN, Reason.MISSING, message))

    def _compare_inodes(self, files: int, free: int) -> Outcome:
        use = Measurement("disk_inodes_used_ratio", 1 - free / files, self.warn_inodes_ratio, self.fail_inodes_ratio)
        return Outcome.measured(f"{use.quantity} of its inodes", use)

    def close(self) -> None:
        self._query.close()
