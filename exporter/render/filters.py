"""Which checks the status page shows, and in which sections: the filter of its query."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from exporter.model import BADNESS, Group, State, Status
from exporter.render.html import NOTHING, Html, fill, join

MAX_QUERY = 100
"""Characters of each part of a filter."""
KEYS = ("status", "group", "owner", "q", "by", "still")
"""The parts of the query that the page depends on."""
GROUPS = (Group.LIVENESS, Group.READINESS, Group.STARTUP)
NO_GROUP = "no group"
NO_OWNER = "no owner"

_FORM = """<form role="search">%s<label>search <input type="search" name="q" value="%s" maxlength="100"></label>
%s<button>Filter</button></form>
"""
_HIDDEN = '<input type="hidden" name="%s" value="%s">'
_COUNT = '<a class="%s" href="%s/%s"%s>%s %s</a> '
_CURRENT = Html(' aria-current="true"')
_SELECTED = Html(" selected")
_OPTION = '<option value="%s"%s>%s</option>'
_SELECT = '<label>%s <select name="%s">%s</select></label>\n'


@dataclass(frozen=True, slots=True)
class Filter:
    """The checks to show: those to which all that is set applies. `by` is what makes the sections.

    If `still` is set, the page does not update itself.
    """

    status: str = ""
    group: str = ""
    owner: str = ""
    q: str = ""
    by: str = ""
    still: str = ""

    @property
    def active(self) -> bool:
        """Whether some checks may be left out."""
        return bool(self.status or self.group or self.owner or self.q)

    def admits(self, state: State) -> bool:
        """Return whether to show this check."""
        spec = state.spec
        return (
            (not self.status or state.status == self.status)
            and (not self.group or self.group in _list_groups(state))
            and (not self.owner or (spec.owner or NO_OWNER) == self.owner)
            and (not self.q or self.q.casefold() in f"{spec.name} {spec.kind} {spec.target} {spec.owner}".casefold())
        )

    def encode(self, **changes: str) -> str:
        """Return the query of this filter with these changes, with its question mark; empty for no filter."""
        parts = {key: getattr(self, key) for key in KEYS} | changes
        query = urlencode({key: value for key, value in parts.items() if value}, errors="replace")
        return f"?{query}" if query else "?"


def parse(query: Mapping[str, str]) -> Filter:
    """Return the filter of a query. Unknown statuses, groups and sections count as not set."""
    found = {key: query.get(key, "")[:MAX_QUERY].strip() for key in KEYS}
    for key, known in (("status", tuple(Status)), ("group", (*GROUPS, NO_GROUP)), ("by", ("owner", "group"))):
        found[key] = found[key] if found[key] in known else ""
    return Filter(**found | {"still": "1" if "still" in query else ""})


def divide(states: Iterable[State], by: str) -> dict[str, list[State]]:
    """Return the checks in sections, by owner, group or status, and in each as they come."""
    name: Callable[[State], str] = {"owner": _name_owner, "group": _name_groups}.get(by, _name_status)
    sections: dict[str, list[State]] = {}
    for state in states:
        sections.setdefault(name(state), []).append(state)
    return sections


def render_form(states: Sequence[State], chosen: Filter, root: str) -> Html:
    """Render the number of checks in each status, as links, and the form for the rest of the filter."""
    hidden = (fill(_HIDDEN, key, value) for key in ("status", "still") if (value := getattr(chosen, key)))
    return _render_counts(states, chosen, root) + fill(_FORM, join(hidden), chosen.q, _render_selects(states, chosen))


def _render_counts(states: Sequence[State], chosen: Filter, root: str) -> Html:
    counts = Counter(state.status for state in states)
    choices = [("", len(states), "in all"), *((status, counts[status], status) for status in BADNESS)]
    links = (
        fill(
            _COUNT,
            value,
            root,
            chosen.encode(status=value),
            _CURRENT if chosen.status == value else NOTHING,
            count,
            text,
        )
        for value, count, text in choices
        if count or value == chosen.status
    )
    return fill('<nav aria-label="Checks by status">%s</nav>\n', join(links))


def _render_selects(states: Iterable[State], chosen: Filter) -> Html:
    owners = sorted({state.spec.owner or NO_OWNER for state in states})
    owned = any(owner != NO_OWNER for owner in owners)
    selects: list[tuple[str, str, tuple[str, ...], str]] = [
        ("group", "group", ("", *GROUPS, NO_GROUP), chosen.group),
        *([("owner", "owner", ("", *owners), chosen.owner)] if owned else []),
        ("arrange by", "by", ("", "group", *(["owner"] if owned else [])), chosen.by),
    ]
    return join(_render_select(*select) for select in selects)


def _render_select(label: str, name: str, values: Iterable[str], chosen: str) -> Html:
    first = "status" if name == "by" else "any"
    options = (fill(_OPTION, value, _SELECTED if value == chosen else NOTHING, value or first) for value in values)
    return fill(_SELECT, label, name, join(options))


def _list_groups(state: State) -> tuple[str, ...]:
    return tuple(group for group in GROUPS if group in state.spec.groups) or (NO_GROUP,)


def _name_owner(state: State) -> str:
    return state.spec.owner or NO_OWNER


def _name_groups(state: State) -> str:
    return ", ".join(_list_groups(state))


def _name_status(state: State) -> str:
    return state.status.value
