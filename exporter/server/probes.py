"""The answers to probes, from memory: the groups' endpoints, and the exporter's own /-/healthy and /-/ready.

Theory of operation:

A probe must be answered even if everything else is overloaded, so its answer costs next to nothing. Whatever can be
computed once per generation is: the verdicts, and the plain answers. A new generation discards all of it. Nothing here
waits for a check, a file or a thread that renders; the counter and the schedule hold their locks for microseconds.

health+json lists every check with its measurements, which takes milliseconds if there are many. The server renders it
in a thread. If too many requests wait for one, the client gets the same verdict in plain text: no probe is refused.
"""

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs

from exporter.evaluation.answered import AnswerLog
from exporter.evaluation.judge import judge, satisfies
from exporter.evaluation.store import Store
from exporter.model import Group, Snapshot, State, Verdict, Vitals
from exporter.render import health
from exporter.server.answers import PLAIN, Answer, AnswerCounter, refuse
from exporter.server.negotiation import HEALTH_JSON, wants_json

PROBE_PATHS = {
    "/livez": Group.LIVENESS,
    "/readyz": Group.READINESS,
    "/startupz": Group.STARTUP,
    "/healthz": Group.ALL,
}
OWN_PATHS = ("/-/healthy", "/-/ready")

MAX_CACHED = 64
"""Plain answers that are kept for the current generation."""

MAX_QUERY = 2048
"""Characters of a probe's query. Longer ones would cost the event loop milliseconds."""

_READ = ("GET", "HEAD")
_ALLOW = ("Allow", ", ".join(_READ))


class _Memory:
    """What has been computed from one Snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.answers: dict[tuple[str, str, bool], Answer] = {}
        self._verdicts: dict[Group, Verdict] = {}

    def verdict(self, group: Group) -> Verdict:
        """Return the verdict of a group."""
        known = self._verdicts.get(group)
        if known is None:
            known = self._verdicts[group] = judge(self.snapshot, group)
        return known


class Probes:
    """Answers probes. Safe to use from several threads."""

    def __init__(
        self, store: Store, counter: AnswerCounter, vitals: Callable[[], Vitals], log: AnswerLog | None = None
    ) -> None:
        self._log = log or AnswerLog()
        self._store = store
        self._counter = counter
        self._vitals = vitals
        self._memory = _Memory(store.snapshot())

    def answer(
        self,
        method: str,
        path: str,
        query: str = "",
        *,
        json: bool = False,
        detailed: bool = False,
        kubelet: bool = False,
    ) -> Answer | None:
        """Return the answer to a request, as health+json if `json`. Return None if the path is not a probe's.

        If `detailed`, the client may see what the status page shows: messages, targets and files. `kubelet` is whether
        the client says that it is the kubelet, for the history.
        """
        answer = self._answer(method, path, query, json=json, detailed=detailed)
        if answer is not None and answer.subject:
            self._log.note(answer.subject, answer.status, answer.because, answer.generation, kubelet=kubelet)
        return answer

    def _answer(self, method: str, path: str, query: str, *, json: bool, detailed: bool) -> Answer | None:
        root, slash, name = path[1:].partition("/")
        group = PROBE_PATHS.get(f"/{root}")
        if group is None and path not in OWN_PATHS:
            return None
        memory = self._refresh()
        degraded = memory.snapshot.degraded and name != "" and "/" not in name
        if group is not None and slash and not (degraded or _find(memory.snapshot, group, name)):
            return _answer_nothing(memory, group, name)
        if method not in _READ or len(query) > MAX_QUERY:
            return refuse(memory.snapshot, 414) if method in _READ else refuse(memory.snapshot, 405, _ALLOW)
        if group is None:
            return self._answer_own(memory.snapshot, path, detailed=detailed and requests_json(query) is True)
        if slash:
            subject = f"/{root}" if degraded else path  # without a configuration, the name is the client's text
            return replace(_answer_check(memory, group, name, detailed=detailed), subject=subject)
        answer = self._answer_group(memory, path, group, query, json=json, detailed=detailed)
        self._counter.count(group, answer.status)
        return answer

    def _refresh(self) -> _Memory:
        memory, snapshot = self._memory, self._store.snapshot()
        if memory.snapshot is not snapshot:
            memory = self._memory = _Memory(snapshot)
        return memory

    def _answer_group(
        self, memory: _Memory, path: str, group: Group, query: str, *, json: bool, detailed: bool
    ) -> Answer:
        key = path, query, detailed
        known = None if json else memory.answers.get(key)
        if known is not None:
            return known
        answer = _render(memory, path.removeprefix("/"), group, query, json=json, detailed=detailed)
        if not json and len(memory.answers) < MAX_CACHED:
            memory.answers[key] = answer
        return answer

    def _answer_own(self, snapshot: Snapshot, path: str, *, detailed: bool) -> Answer:
        if path == "/-/ready":
            return _answer_own(snapshot, "ready", because=self._find_obstacle(snapshot))
        vitals = self._vitals()
        because = None if vitals.running else "the schedule is not running"
        answer = _answer_own(snapshot, "healthy", because)
        if not detailed:
            return answer
        body = health.render_exporter(snapshot, vitals, because).encode()
        return replace(answer, body=body, content_type=HEALTH_JSON)

    def _find_obstacle(self, snapshot: Snapshot) -> str | None:
        """Return why the exporter is not ready."""
        if snapshot.draining:
            return "shutting down"
        if snapshot.degraded:
            return health.NOT_LOADED
        return None if self._vitals().open else "the web configuration is not loaded"


def prefers_json(path: str, query: str, accept: str) -> bool:
    """Return whether a request is for a group's verdict as health+json, by `?format=` or by its Accept header."""
    if path not in PROBE_PATHS or len(query) > MAX_QUERY:
        return False
    requested = requests_json(query)
    return (accept not in ("", "*/*") and wants_json(accept)) if requested is None else requested


def requests_json(query: str) -> bool | None:
    """Return whether `?format=` requests JSON; None without it."""
    form = parse_qs(query, keep_blank_values=True).get("format") if "format" in query else None
    return None if form is None else form[0] == "json"


def _find(snapshot: Snapshot, group: Group, name: str) -> bool:
    state = snapshot.states.get(name)
    return state is not None and state.spec.belongs_to(group)


def _answer_nothing(memory: _Memory, group: Group, name: str) -> Answer:
    body = health.render_unknown(memory.snapshot, memory.verdict(group), name).encode()
    return refuse(memory.snapshot, 404, body=body)


def _answer_check(memory: _Memory, group: Group, name: str, *, detailed: bool) -> Answer:
    snapshot = memory.snapshot
    if snapshot.degraded:  # the next configuration may have a check of this name: a 404 would restart the application
        return _answer_unknown_check(snapshot, group)
    state = snapshot.states[name]
    hold = memory.verdict(group).hold
    failing = () if hold or satisfies(state, group) else (state,)
    body = health.render_check(state, group, hold, detailed=detailed).encode()
    return Answer(503 if failing else 200, body, snapshot.generation, because=_list_reasons(failing))


def _answer_unknown_check(snapshot: Snapshot, group: Group) -> Answer:
    if group is Group.LIVENESS:
        return Answer(200, b"ok", snapshot.generation)
    return Answer(503, f"{health.NOT_LOADED}\n".encode(), snapshot.generation, because=(health.NOT_LOADED,))


def _render(memory: _Memory, title: str, group: Group, query: str, *, json: bool, detailed: bool) -> Answer:
    options = parse_qs(query, keep_blank_values=True) if query else {}
    exclude = frozenset(options.get("exclude", ()))
    verdict, snapshot = memory.verdict(group).without(exclude), memory.snapshot
    because = [] if verdict.up else [*_list_reasons(verdict.culprits), *health.list_conditions(verdict)]
    if json:
        body, content_type = health.render_json(snapshot, verdict, detailed=detailed), HEALTH_JSON
    else:
        verbose = "verbose" in options
        body = health.render_text(verdict, title, verbose=verbose, detailed=detailed, exclude=exclude)
        content_type = PLAIN
    excluded = sorted(exclude & {state.spec.name for state in verdict.members}) if exclude else ()
    subject = f"/{title}" + (f"?exclude={','.join(excluded)}" if excluded else "")
    return Answer(
        _code(verdict.up), body.encode(), snapshot.generation, content_type, because=tuple(because), subject=subject
    )


def _code(up: bool) -> int:  # noqa: FBT001  # a verdict is a truth value
    return 200 if up else 503


def _answer_own(snapshot: Snapshot, word: str, because: str | None) -> Answer:
    if because is None:
        return Answer(200, f"Health Exporter is {word}.\n".encode(), snapshot.generation)
    body = f"Health Exporter is not {word}.\n".encode()
    return Answer(503, body, snapshot.generation, because=(because,))


def _list_reasons(states: tuple[State, ...]) -> tuple[str, ...]:
    return tuple(f"{state.spec.name} ({state.reason})" for state in states)
