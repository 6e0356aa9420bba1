"""Snapshot -> Verdict per group. Pure.

"Don't know" has a safe answer per question, as in the kubelet's table of initial values (worker.go): liveness takes
unknown as alive, because a restart needs evidence; every other question takes it as not yet.
"""

from collections.abc import Collection

from exporter.model import Group, Snapshot, State, Status, Verdict


def satisfies(state: State, group: Group) -> bool:
    """Whether this check alone would let the group's answer be yes."""
    return state.status.healthy or (group is Group.LIVENESS and state.status is Status.UNKNOWN)


def causes(snapshot: Snapshot, state: State, seen: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The failing checks that this one depends on, directly or not: of a chain of them the one that failed first.

    Empty for a check that is well, and for one whose trouble is its own. It is suppressed by them, not excused: it
    still runs, is shown and decides.
    """
    if state.status.healthy and not seen:
        return ()
    found: list[str] = []
    for name in state.spec.depends_on:
        parent = snapshot.states.get(name)
        if parent is None or name in seen:
            continue
        deeper = causes(snapshot, parent, seen | {state.spec.name, name})
        found += deeper or ((name,) if parent.status is Status.FAIL else ())
    return tuple(dict.fromkeys(found))


def judge(snapshot: Snapshot, group: Group, exclude: Collection[str] = ()) -> Verdict:
    """Answer one group's question, leaving out the checks named in `exclude`. No checks: yes, as in Kubernetes."""
    states = (state for state in snapshot.states.values() if state.spec.belongs_to(group))
    members = tuple(sorted(states, key=lambda state: bool(causes(snapshot, state))))  # what others caused comes last
    culprits = tuple(state for state in members if not satisfies(state, group) and state.spec.name not in exclude)
    draining = snapshot.draining and group is Group.READINESS
    return Verdict(group, not culprits and not draining, members, culprits, draining)
