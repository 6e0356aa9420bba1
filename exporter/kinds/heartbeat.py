"""The kind `heartbeat`: whether a job without a port reports to the exporter in time."""

from typing import ClassVar

from exporter.model import Deadline, Group, Measurement, Outcome, ProbeError, Reason
from exporter.probe.options import Seconds
from exporter.probe.passive import PassiveProbe
from exporter.quantities import format_quantity


class Heartbeat(PassiveProbe):
    """Waits for heartbeats of a job that has no port, such as a backup or a queue worker.

    The job sends `POST /heartbeat/NAME` to the exporter, with the name of the check and the token:
    `curl -fsS -X POST -H "Authorization: Bearer $TOKEN" http://127.0.0.1:4584/heartbeat/NAME`. With `?exitCode=$?` it
    reports its own failure: any number but 0 fails the check with the reason `exit`, until the next heartbeat. Each run
    judges the latest heartbeat.

    Before the first heartbeat, the check is `unknown`; once it has waited for `maxAgeSeconds`, it fails with the reason
    `missing`. The latest heartbeat, or the time since which the check has waited, survives a restart of the exporter in
    the file of `--history.file`. Its age is then computed from the wall clock.

    By default, the check belongs to no group: a job that does not run is a reason for an alert, not for a pod that is
    not ready. The kubelet and blackbox_exporter have nothing similar; the kind `file` can watch a file that a job
    writes.
    """

    measures: ClassVar = {"heartbeat_age_seconds": "Time since the latest heartbeat, in the latest run."}
    examples: ClassVar = (
        "- name: backup\n  heartbeat: {maxAgeSeconds: 90000, token: {env: BACKUP_TOKEN}}",
        (
            "- name: worker\n"
            "  heartbeat: {maxAgeSeconds: 60, token: {file: /etc/health-exporter/worker.token}}\n"
            "  groups: [liveness]"
        ),
    )
    default_groups: ClassVar[frozenset[Group]] = frozenset()

    max_age_seconds: Seconds
    """Fails when the latest heartbeat is this number of seconds old."""

    def probe(self, deadline: Deadline) -> Outcome:
        exit_code, age = self.recall(deadline)
        if exit_code is None:
            wait = format_quantity("heartbeat_age_seconds", age)
            message = f"no heartbeat has been received for {wait}"
            if age < self.max_age_seconds:
                raise ProbeError(Reason.MISSING, f"{message}, since the check began to wait for the first one")
            return Outcome.failed(Reason.MISSING, f"{message}, expected one every {self.max_age_seconds:g} s")
        measurement = Measurement("heartbeat_age_seconds", age, None, self.max_age_seconds)
        outcome = Outcome.measured(f"the latest heartbeat was received {measurement.quantity} ago", measurement)
        if exit_code == 0:
            return outcome
        return Outcome.worst(Outcome.failed(Reason.EXIT, f"the job exited with code {exit_code}"), outcome)
