"""Snapshot -> Verdict per group. Pure.

"Don't know" has a safe answer per question, as in the kubelet's table of initial values (worker.go): liveness takes
unknown as alive, because a restart needs evidence; every other question takes it as not yet.
"""

from collections.abc import Collection

from exporter.model import Group, Snapshot, State, Status, Verdict


def satisfies(state: State, group: Group) -> bool:
    """Whether this check alone would let the group's answer be yes."""
    return state.status.healthy or (group is Group.LIVENESS and state.status is Status.UNKNOWN)


def judge(snapshot: Snapshot, group: Group, exclude: Collection[str] = ()) -> Verdict:
    """Answer one group's question, leaving out the checks named in `exclude`. No checks: yes, as in Kubernetes."""
    members = tuple(state for state in snapshot.states.values() if state.spec.belongs_to(group))
    culprits = tuple(state for state in members if not satisfies(state, group) and state.spec.name not in exclude)
    draining = snapshot.draining and group is Group.READINESS
    return Verdict(group, not culprits and not draining, members, culprits, draining)
