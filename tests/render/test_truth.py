"""The same truth for every audience: one Snapshot with every state that a check can have, rendered for each of them.

The expected facts are computed here from the runs alone, by the rules of docs/results.md.
"""

import html
import itertools
import json
import re
from dataclasses import dataclass, replace
from functools import cache

import pytest
from make import in_groups, result, snapshot
from prometheus_client.parser import text_string_to_metric_families as parse

from exporter.ask import _explain
from exporter.evaluation.judge import judge
from exporter.evaluation.settle import expire, settle
from exporter.model import Group, Hold, Outcome, Reason, Snapshot, Spec, State, Status, Vitals
from exporter.render import health, metrics, page, report
from exporter.server.answers import AnswerCounter
from exporter.server.probes import PROBE_PATHS, Probes

OF_RUNS = [reason for reason in Reason if reason not in (Reason.STALE, Reason.PENDING)]
THRESHOLDS = [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2)]  # of failures and of successes
LATE = 9999.0  # monotonic clock: everything is stale
FAILING = "parent"
HOLD = Hold("debugging", 1_001_900.0, 1000.0, 1900.0)


@dataclass(frozen=True)
class Fact:
    """What every audience must be told about a check."""

    status: str
    reason: str | None
    last_status: str | None
    last_reason: str | None


@dataclass(frozen=True)
class Case:
    """The runs of a check as P, W, F and U, the reason of the last one, its thresholds, and whether it is stale."""

    letters: str
    reason: Reason
    thresholds: tuple[int, int]
    stale: bool
    suppressed: bool
    groups: frozenset[Group]

    def list_runs(self) -> list[Outcome]:
        """The runs. All before the last one have another reason than it."""
        other = OF_RUNS[OF_RUNS.index(self.reason) - 1]
        reasons = [other] * (len(self.letters) - 1) + [self.reason]
        return [make_outcome(letter, reason) for letter, reason in zip(self.letters, reasons, strict=True)]

    def make_state(self, name: str) -> State:
        failures, successes = self.thresholds
        depends = (FAILING,) if self.suppressed else ()
        state = State(
            Spec(
                name,
                "scripted",
                groups=self.groups,
                failure_threshold=failures,
                success_threshold=successes,
                depends_on=depends,
            )
        )
        for second, outcome in enumerate(self.list_runs() if self.letters else ()):
            state = settle(state, result(outcome, at=1000.0 + second))
        return expire(state, LATE, 1_000_000 + LATE) if self.stale else state

    def expect(self) -> Fact:
        """The fact, by the rules and without the code under test."""
        runs = self.list_runs() if self.letters else []
        status, reason, streak, healthy = "unknown", None, 0, None
        for run in runs:
            if run.status == "unknown":
                continue
            streak = streak + 1 if run.status.healthy == healthy else 1
            healthy = run.status.healthy
            if streak >= self.thresholds[healthy]:
                status, reason = str(run.status), run.reason
        last = runs[-1] if runs else None
        if self.stale and status != "unknown":
            status, reason = "unknown", last.reason if last.status == "unknown" else Reason.STALE
        elif status == "unknown":
            reason = (last.reason if last else None) or Reason.PENDING
        return Fact(status, reason, last and last.status, last and last.reason)


def make_outcome(letter: str, reason: Reason) -> Outcome:
    status = {"P": Status.PASS, "W": Status.WARN, "F": Status.FAIL, "U": Status.UNKNOWN}[letter]
    return Outcome(status, None if status is Status.PASS else reason, f"it was {letter}, {reason}")


def list_cases() -> dict[str, Case]:
    """Every combination of runs, thresholds and age. The other properties take turns, as they change independently."""
    letters = ["".join(runs) for length in range(4) for runs in itertools.product("PWFU", repeat=length)]
    groups = [in_groups(Group.LIVENESS), in_groups(Group.READINESS), in_groups(Group.STARTUP), in_groups()]
    return {
        f"c{number}": Case(
            runs,
            OF_RUNS[number % len(OF_RUNS)],
            thresholds,
            stale,
            suppressed=number % 3 == 0,
            groups=groups[number // 2 % 4],
        )
        for number, (runs, thresholds, stale) in enumerate(itertools.product(letters, THRESHOLDS, (False, True)))
    }


CASES = list_cases()


@cache
def scene(*, draining: bool = False, hold: Hold | None = None) -> Snapshot:
    spec = Spec(FAILING, "scripted", groups=in_groups(), failure_threshold=1)
    parent = settle(State(spec), result(Outcome.failed(Reason.DNS, "no name")))
    return snapshot([parent, *(case.make_state(name) for name, case in CASES.items())], draining=draining, hold=hold)


def facts(take) -> dict[str, object]:
    """For each check, what `take` makes of its fact."""
    return {name: take(case.expect()) for name, case in CASES.items()}


def is_up(fact: Fact, group: Group) -> bool:
    return fact.status in ("pass", "warn") or (fact.status == "unknown" and group is Group.LIVENESS)


def members(group: Group) -> dict[str, Fact]:
    return {name: case.expect() for name, case in CASES.items() if group is Group.ALL or group in case.groups}


def without_parent(found: dict[str, object]) -> dict[str, object]:
    return {name: fact for name, fact in found.items() if name != FAILING}


def test_there_is_every_status_with_every_reason_that_it_can_have():
    seen = {(case.expect().status, case.expect().reason) for case in CASES.values()}

    assert seen == {
        ("pass", None),
        *(("warn", reason) for reason in OF_RUNS),
        *(("fail", reason) for reason in OF_RUNS),
        *(("unknown", reason) for reason in Reason),
    }
    assert any(case.expect().status == "fail" and case.suppressed for case in CASES.values())


@pytest.mark.parametrize("group", Group)
@pytest.mark.parametrize("hold", [None, HOLD])
def test_the_plain_list(group, hold):
    """A hold has a line of its own, and changes no other one."""
    lines = health.render_text(judge(scene(hold=hold), group), "x", verbose=True, detailed=True).splitlines()[:-1]
    held = "[+]hold ok: restarts are suspended until 1970-01-12T14:18:20.000Z: debugging"
    assert lines.count(held) == (hold is not None and group is Group.LIVENESS)

    def write(name: str, fact: Fact) -> str:
        if not is_up(fact, group):
            return f"[-]{name} failed: {fact.reason}"
        return f"[+]{name} ok" + (f": {fact.status}, {fact.reason}" if fact.reason else "")

    assert sorted(line for line in lines if FAILING not in line and line != held) == sorted(
        write(name, fact) for name, fact in members(group).items()
    )


@pytest.mark.parametrize("path", PROBE_PATHS)
def test_the_answer_for_one_check_and_the_reasons_in_the_log(path):
    group = PROBE_PATHS[path]
    probes = Probes(Always(scene()), AnswerCounter(), lambda: Vitals(running=True))
    answers = {name: probes.answer("GET", f"{path}/{name}") for name in members(group)}

    assert {name: (answer.status, answer.body.decode(), answer.because) for name, answer in answers.items()} == {
        name: (200, "ok", ())
        if is_up(fact, group)
        else (503, f"{name} failed: {fact.reason}\n", (f"{name} ({fact.reason})",))
        for name, fact in members(group).items()
    }
    assert {reason for reason in probes.answer("GET", path).because if FAILING not in reason} == {
        f"{name} ({fact.reason})" for name, fact in members(group).items() if not is_up(fact, group)
    }


class Always:
    """A Store that always has the same Snapshot."""

    def __init__(self, shown: Snapshot) -> None:
        self._shown = shown

    def snapshot(self) -> Snapshot:
        return self._shown


def read_json(*, draining: bool = False) -> dict[str, object]:
    shown = scene(draining=draining)
    document = json.loads(health.render_json(shown, judge(shown, Group.ALL), detailed=True))
    return {name: check for name, (check,) in document["checks"].items()}


def test_the_json_document():
    described = without_parent(read_json())

    assert {name: to_fact(check) for name, check in described.items()} == facts(lambda fact: fact)
    assert {name: check.get("output") for name, check in described.items()} == {
        name: case.list_runs()[-1].summary if case.letters else None for name, case in CASES.items()
    }
    assert {name for name, check in described.items() if check.get("suppressedBy") == [FAILING]} == {
        name for name, case in CASES.items() if case.suppressed and case.expect().status in ("fail", "unknown")
    }


def to_fact(check: dict[str, str]) -> Fact:
    return Fact(check["status"], check.get("reason"), check.get("lastStatus"), check.get("lastReason"))


def test_ask_prints_what_the_json_says():
    document = json.loads(health.render_json(scene(), judge(scene(), Group.ALL), detailed=True))
    lines = [line for line in _explain("healthz", document, verbose=False)[1:] if FAILING not in line]
    found = {line.partition(" ")[0]: line for line in lines}
    every = [line for line in _explain("healthz", document, verbose=True) if line.startswith("  message: ")]

    assert found.keys() == {name for name, fact in facts(lambda fact: fact).items() if fact.status != "pass"}
    for name, line in found.items():
        fact = CASES[name].expect()
        assert re.fullmatch(rf"{name} \(scripted\): {fact.status}( since \S+)?, reason {fact.reason}", line)
    assert len(every) == 1 + sum(bool(case.letters) for case in CASES.values())


def read_metrics(shown: Snapshot) -> dict[str, dict[str, dict[str, str]]]:
    """The labels of every sample that is 1, by family and check."""
    text = metrics.render(shown, Vitals(running=True), {}, content_type=metrics.TEXT).decode()
    found: dict[str, dict[str, dict[str, str]]] = {}
    for family in parse(text):
        for sample in family.samples:
            if sample.value == 1 and sample.labels.get("check", "") != FAILING:
                found.setdefault(family.name, {})[sample.labels.get("check", sample.labels.get("group", ""))] = (
                    sample.labels
                )
    return found


def test_the_metrics():
    found = read_metrics(scene())
    expected = facts(lambda fact: fact)

    assert {name: labels["status"] for name, labels in found["health_check_status"].items()} == facts(
        lambda fact: fact.status
    )
    assert found["health_check_up"].keys() == {
        name for name, fact in expected.items() if fact.status in ("pass", "warn")
    }
    assert found["health_check_last_up"].keys() == {
        name for name, fact in expected.items() if fact.last_status in ("pass", "warn")
    }
    assert {name: labels["reason"] for name, labels in found["health_check_reason"].items()} == {
        name: fact.last_reason for name, fact in expected.items() if fact.last_reason
    }


@pytest.mark.parametrize("hold", [None, HOLD])
@pytest.mark.parametrize("draining", [False, True])
def test_every_verdict(draining, hold):
    """Of the endpoint, of its JSON, in the metrics, and on the page; for all checks, and without those that fail it."""
    healthy = {name: case for name, case in CASES.items() if case.expect().status in ("pass", "warn")}
    fine = snapshot([case.make_state(name) for name, case in healthy.items()], draining=draining, hold=hold)

    for shown, expected in ((scene(draining=draining, hold=hold), {}), (fine, dict.fromkeys(Group, True))):
        up = {group: expected.get(group, False) and not (draining and group is Group.READINESS) for group in Group}
        up[Group.LIVENESS] |= hold is not None
        exposed = read_metrics(shown).get("health_group_up", {})
        rendered = page.render(shown, PROBE_PATHS, 1_001_000.0)
        probes = Probes(Always(shown), AnswerCounter(), lambda: Vitals(running=True))
        for path, group in PROBE_PATHS.items():
            plain, document = probes.answer("GET", path), probes.answer("GET", path, json=True)
            assert (plain.status == 200) == (document.status == 200) == up[group]
            assert (json.loads(document.body)["status"] != "fail") == up[group]
            assert group is Group.ALL or (group in exposed) == up[group]
            assert re.search(rf'<li class="{"pass" if up[group] else "fail"}">\s*<a href="{path}\?verbose"', rendered)
            held = hold is not None and group is Group.LIVENESS
            assert (b"[+]hold ok: restarts are suspended until 1970-01-12T14:18:20.000Z\n" in plain.body) == held
            assert ("hold" in json.loads(document.body)) == held
            assert not (held and plain.because)
            shuts = b"[-]shutdown failed: shutting down\n" in plain.body
            assert shuts == (draining and group is Group.READINESS)


def test_a_hold_changes_nothing_but_liveness():
    """In the metrics and on the page, too."""
    found, held = read_metrics(scene()), read_metrics(scene(hold=HOLD))
    without, text = (
        metrics.render(scene(hold=hold), Vitals(running=True), {}, content_type=metrics.TEXT).decode()
        for hold in (None, HOLD)
    )
    rendered = page.render(scene(hold=HOLD), PROBE_PATHS, 1_001_000.0)
    plain = html.unescape(re.sub(r"<[^>]*>", "", rendered))

    assert held.pop("health_group_up") == {"liveness": {"group": "liveness"}}
    assert found.items() >= held.items()
    assert 'health_group_hold_expiry_timestamp_seconds{group="liveness"} 1.0019e+06\n' in text
    assert "health_group_hold" not in without
    assert "Restarts are suspended: /livez returns 200 until 14:18:20 UTC in 15 min, whatever" in plain
    assert "Reason: debugging" in plain
    assert "Restarts are suspended" not in page.render(scene(), PROBE_PATHS, 1_001_000.0)


def test_the_page():
    rendered = page.render(scene(), PROBE_PATHS, 1_001_000.0)
    rows = re.findall(
        r'<li id="check-(\w+)" class="(\w+)">.*?<span class="status">(.*?)</span>(.*?)</li>', rendered, re.DOTALL
    )
    reasons = {name: re.findall(r"<small>(\w+)</small>", cell) for name, _, cell, _ in rows}

    assert without_parent({name: status for name, status, _, _ in rows}) == facts(lambda fact: fact.status)
    assert without_parent(reasons) == facts(lambda fact: [fact.reason] if fact.reason else [])
    for name, _, _, rest in rows:
        if name != FAILING:
            case = CASES[name]
            fact = case.expect()
            text = html.unescape(re.sub(r"<[^>]*>", "", rest))
            assert (case.list_runs()[-1].summary if case.letters else "has not run yet") in text
            assert ("suppressed" in text) == (case.suppressed and fact.status in ("fail", "unknown"))
            differs = fact.last_reason is not None and (fact.last_status, fact.last_reason) != (
                fact.status,
                fact.reason,
            )
            assert not differs or fact.last_reason in text


def test_the_report():
    shown = replace(scene())
    verdict = judge(shown, Group.ALL)
    document = json.loads(report.render_json(shown, verdict))["checks"]
    text = report.render_text(shown, verdict, color=False).splitlines()
    cells = {line.split()[1]: line.split() for line in text if re.match(r"(PASS|WARN|FAIL|UNKNOWN) ", line)}

    assert without_parent({check["name"]: (check["status"], check["reason"]) for check in document}) == facts(
        lambda fact: (fact.status, fact.reason)
    )
    for name, fact in facts(lambda fact: fact).items():
        assert cells[name][0] == fact.status.upper()
        assert fact.reason is None or cells[name][3] == fact.reason


def test_without_a_configuration_every_audience_says_so():
    shown = snapshot([], degraded=True)
    vitals = Vitals(running=True, complaint="health.yml:3: wrong", complaint_time=1_000_000.0, reload_ok=False)
    probes = Probes(Always(shown), AnswerCounter(), lambda: vitals)
    ready = probes.answer("GET", "/readyz")
    document = json.loads(probes.answer("GET", "/readyz", json=True).body)
    own = json.loads(probes.answer("GET", "/-/healthy", "format=json", detailed=True).body)
    rendered = page.render(shown, PROBE_PATHS, 1_000_060.0, vitals=vitals)

    assert (ready.status, ready.body) == (503, b"[-]configuration failed: not loaded\nreadyz check failed\n")
    assert ready.because == ("the configuration is not loaded",)
    assert document["notes"] == ["the configuration is not loaded"]
    assert own["configuration"] == {
        "file": "",
        "checks": 0,
        "rejected": "1970-01-12T13:46:40.000Z",
        "errors": ["health.yml:3: wrong"],
    }
    assert "<li>health.yml:3: wrong</li>" in rendered
    assert "Rejected at 13:46:40 UTC 1 min ago:" in re.sub(r"<[^>]*>", "", rendered)
    assert [probes.answer("GET", path).status for path in PROBE_PATHS] == [200, 503, 503, 503]
