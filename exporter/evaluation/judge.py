"""Snapshot -> Verdict per group. Pure functions.

Each group has a safe interpretation of `unknown`, as the kubelet has an initial value for each probe (newWorker in
pkg/kubelet/prober/worker.go). For liveness, unknown means alive, because a restart needs evidence. For every other
group, it means not yet.
"""

from exporter.model import Group, Snapshot, State, Status, Verdict


def satisfies(state: State, group: Group) -> bool:
    """Return whether the group's endpoint would return 200 if this were its only check."""
    return state.status.healthy or (group is Group.LIVENESS and state.status is Status.UNKNOWN)


def find_causes(snapshot: Snapshot, state: State, seen: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return the names of the failing checks that this one depends on, directly or indirectly.

    Of a chain of failing checks, only the last one is returned. The result is empty if the check is healthy, or
    if none of its dependencies fails. A check with causes is suppressed, but it still runs, is shown and counts. `seen`
    is for the recursion: the names on the way here.
    """
    if state.status.healthy and not seen:
        return ()
    found: list[str] = []
    for name in state.spec.depends_on:
        parent = snapshot.states.get(name)
        if parent is None or name in seen:
            continue
        deeper = find_causes(snapshot, parent, seen | {state.spec.name, name})
        found += deeper or ((name,) if parent.status is Status.FAIL else ())
    return tuple(dict.fromkeys(found))


def judge(snapshot: Snapshot, group: Group) -> Verdict:
    """Return a group's verdict.

    Without checks it is up, as in Kubernetes. Without a configuration, only liveness is. A hold makes liveness up; the
    culprits are the checks that would make it false otherwise.
    """
    members = tuple(state for state in snapshot.states.values() if state.spec.belongs_to(group))
    if [state for state in members if state.spec.depends_on]:
        members = tuple(sorted(members, key=lambda state: bool(find_causes(snapshot, state))))  # suppressed checks last
    culprits = tuple(state for state in members if not satisfies(state, group))
    draining = snapshot.draining and group is Group.READINESS
    degraded = snapshot.degraded and group is not Group.LIVENESS
    hold = snapshot.hold if group is Group.LIVENESS else None
    up = bool(hold) or not (culprits or draining or degraded)
    return Verdict(group, up, members, culprits, draining, degraded, hold)
