"""The exposition: the contract's families and labels, in both formats, whatever the texts are."""

import re
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import in_groups, settled, snapshot, spec
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from render.scene import ANSWERS, NOW, VITALS, golden, scene
from support import command

from exporter.evaluation.judge import judge
from exporter.evaluation.settle import settle
from exporter.kinds import KindError
from exporter.model import Group, Measurement, Outcome, Reason, Result, State, Status, Vitals
from exporter.render import metrics
from exporter.render.metrics import OPEN_METRICS, TEXT, render

FORMATS = [TEXT, OPEN_METRICS]
PARSERS = [(TEXT, parse_text), (OPEN_METRICS, parse_open_metrics)]
CHECK = {"check", "kind"}
FAMILIES = {  # design contract: labels beyond check and kind, or all of them where the family is about no check
    "health_check_up": CHECK,
    "health_check_status": CHECK | {"status"},
    "health_check_last_up": CHECK,
    "health_check_reason": CHECK | {"reason"},
    "health_check_duration_seconds": CHECK,
    "health_check_period_seconds": CHECK,
    "health_check_timeout_seconds": CHECK,
    "health_check_failure_threshold": CHECK,
    "health_check_last_run_timestamp_seconds": CHECK,
    "health_check_last_pass_timestamp_seconds": CHECK,
    "health_check_last_transition_timestamp_seconds": CHECK,
    "health_check_consecutive_failures": CHECK,
    "health_check_runs_total": CHECK,
    "health_check_transitions_total": CHECK,
    "health_check_failures_total": CHECK | {"reason"},
    "health_check_failure_streak_runs_bucket": CHECK | {"le"},
    "health_check_failure_streak_runs_count": CHECK,
    "health_check_failure_streak_runs_sum": CHECK,
    "health_check_info": CHECK | {"target", "severity"},
    "health_check_group": CHECK | {"group"},
    "health_endpoint_latency_seconds": CHECK,
    "health_load1": CHECK,
    "health_load_ratio": CHECK,
    "health_load_ratio_limit": CHECK | {"level"},
    "health_disk_used_ratio": CHECK,
    "health_disk_used_ratio_limit": CHECK | {"level"},
    "health_group_up": {"group"},
    "health_answers_total": {"group", "code"},
    "health_snapshot_generation": set(),
    "health_snapshot_timestamp_seconds": set(),
    "health_exporter_build_info": {"version", "pythonversion"},
    "health_exporter_config_last_reload_successful": set(),
    "health_exporter_config_last_reload_success_timestamp_seconds": set(),
    "health_exporter_scheduler_lag_seconds": set(),
    "health_exporter_worker_restarts_total": set(),
    "health_exporter_started": set(),
    "health_exporter_workers": set(),
    "health_exporter_workers_busy": set(),
    "health_exporter_workers_stuck": set(),
}
CREATED = {"health_check_failures_created", "health_check_failure_streak_runs_created"}
FORBIDDEN = {"endpoint", "instance", "job", "service", "namespace", "pod", "container", "type"}


def exposed(shown=None, content_type=TEXT, names=(), vitals=VITALS, answers=ANSWERS):
    return render(shown or scene(), vitals, answers, content_type=content_type, names=names).decode()


def samples(shown=None, content_type=TEXT):
    """Every sample as (name, labels) -> value; fails on a duplicate."""
    parse = dict(PARSERS)[content_type]
    found = {}
    for family in parse(exposed(shown, content_type)):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def verdicts(shown):
    """The verdict of every group that has one."""
    return {labels[0][1]: value for (name, labels), value in samples(shown).items() if name == "health_group_up"}


def of_check(name, shown=None):
    """One check's samples, by name and further labels."""
    return {
        (family, *(value for label, value in labels if label not in CHECK)): value
        for (family, labels), value in samples(shown).items()
        if ("check", name) in labels
    }


@pytest.mark.parametrize(("content_type", "name"), [(TEXT, "scene.prom"), (OPEN_METRICS, "scene.om")])
def test_the_whole_exposition(content_type, name):
    """Everything except the client library's own families and the versions, which depend on the environment."""
    text = re.sub(r"(health_exporter_build_info)\{.*\}", r"\1{...}", exposed(content_type=content_type))
    ours = [line for line in text.splitlines(keepends=True) if not re.match(r"(# \w+ )?(process|python)_", line)]

    golden(name, "".join(ours))


@pytest.mark.parametrize("content_type", FORMATS)
def test_every_family_of_the_contract_has_exactly_its_labels(content_type):
    labels = {}
    for name, pairs in samples(content_type=content_type):
        labels.setdefault(name, set()).add(frozenset(label for label, _ in pairs))

    ours = {name: sets for name, sets in labels.items() if name.startswith("health_") and name not in CREATED}
    assert ours == {name: {frozenset(each)} for name, each in FAMILIES.items()}
    assert not FORBIDDEN & {label for sets in labels.values() for each in sets for label in each}


@pytest.mark.parametrize("content_type", FORMATS)
def test_both_formats_say_the_same(content_type):
    def ours(found):
        return {key: value for key, value in found.items() if key[0].startswith("health_") and key[0] not in CREATED}

    assert ours(samples(content_type=content_type)) == ours(samples(content_type=TEXT))


@pytest.mark.parametrize("shown", [scene(), scene(draining=True), snapshot(())], ids=["scene", "draining", "no checks"])
def test_promtool_finds_nothing_to_say(shown):
    text = exposed(shown)

    checked = subprocess.run(
        [command("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=30
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


# What the values mean


def test_a_check_that_has_never_run_has_no_times_and_no_results():
    found = of_check("new")

    assert {name for name, *_ in found} == {
        "health_check_up",
        "health_check_status",
        "health_check_runs_total",
        "health_check_transitions_total",
        "health_check_period_seconds",
        "health_check_timeout_seconds",
        "health_check_failure_threshold",
        "health_check_info",
        "health_check_group",
    }
    assert found["health_check_up",] == 0
    assert found["health_check_status", "unknown"] == 1
    assert found["health_check_runs_total",] == 0


@pytest.mark.parametrize(
    ("check", "up", "last_up", "reason", "failures"),
    [
        ("api", 1, 1, set(), {}),
        ("web", 0, 0, {"timeout"}, {"timeout": 3, "connect": 1}),
        ("mysql", 1, 0, {"connect"}, {"connect": 1}),
        ("disk", 1, 1, {"threshold"}, {}),
        ("share", 1, 0, {"permission"}, {"permission": 1}),
        ("blind", 0, 0, {"missing"}, {"missing": 1}),
        ("old", 0, 1, set(), {}),
    ],
)
def test_settled_and_latest_are_told_apart(check, up, last_up, reason, failures):
    found = of_check(check)

    assert found["health_check_up",] == up
    assert found["health_check_last_up",] == last_up
    assert {key[1] for key in found if key[0] == "health_check_reason"} == reason
    assert {key[1]: value for key, value in found.items() if key[0] == "health_check_failures_total"} == failures
    assert [value for key, value in found.items() if key[0] == "health_check_status"] == [1]


def test_times_are_those_of_the_runs():
    found = of_check("web")

    assert found["health_check_last_run_timestamp_seconds",] == NOW - 30
    assert found["health_check_last_pass_timestamp_seconds",] == NOW - 70
    assert found["health_check_last_transition_timestamp_seconds",] == NOW - 40 + 0.0125
    assert found["health_check_duration_seconds",] == 0.0125
    assert found["health_check_consecutive_failures",] == 4


def test_the_limits_are_those_that_are_set():
    assert of_check("disk")["health_disk_used_ratio_limit", "warn"] == 0.8
    assert of_check("disk")["health_disk_used_ratio_limit", "fail"] == 0.9
    assert [key for key in of_check("load") if "limit" in key[0]] == [("health_load_ratio_limit", "fail")]


def test_groups_are_the_configured_ones():
    assert {key[1] for key in of_check("api") if key[0] == "health_check_group"} == {"liveness", "readiness"}
    assert {key[1] for key in of_check("disk") if key[0] == "health_check_group"} == set()


def test_the_verdicts_are_those_of_the_endpoints():
    shown = scene()

    assert verdicts(shown) == {group: judge(shown, group).up for group in Group}


def test_a_group_without_checks_has_a_verdict_only_if_its_endpoint_returns_503():
    member = settled("P", groups=in_groups(Group.READINESS))
    cases = {
        "one group": snapshot([member]),
        "no checks": snapshot([]),
        "no checks, shutting down": snapshot([], draining=True),
        "no configuration": snapshot([], degraded=True),
    }

    assert {name: verdicts(shown) for name, shown in cases.items()} == {
        "one group": {"readiness": 1, "all": 1},
        "no checks": {},
        "no checks, shutting down": {"readiness": 0},
        "no configuration": {"readiness": 0, "startup": 0, "all": 0},
    }


def test_the_start_and_the_shutdown_are_shown():
    shown = [samples(snapshot((), started=True)), samples(snapshot((), draining=True))]

    assert [found["health_exporter_started", ()] for found in shown] == [1, 0]
    assert [found.get(("health_exporter_draining", ())) for found in shown] == [None, 1]


def test_the_series_that_would_repeat_another_one_or_a_zero_are_absent():
    """The latest pass is the latest run while a check passes."""
    optional = ("health_check_consecutive_failures", "health_check_last_pass_timestamp_seconds")
    cases = ["P", "PP", "PF", "PFP", "PU", "PFF", "PFFP"]
    shown = {letters: snapshot([settled(letters, failure_threshold=2, success_threshold=2)]) for letters in cases}

    assert {
        letters: [of_check("api", found).get((name,)) for name in optional] for letters, found in shown.items()
    } == {
        "P": [None, 1_000_999.99],
        "PP": [None, None],
        "PF": [1, 1_000_999.99],
        "PFP": [None, 1_001_001.99],
        "PU": [None, 1_000_999.99],
        "PFF": [2, 1_000_999.99],
        "PFFP": [None, 1_001_002.99],
    }
    assert "health_exporter_workers_stuck" not in exposed(vitals=Vitals(running=True))


def test_draining_takes_readiness_away():
    well = [settled("P", groups=in_groups(Group.READINESS))]

    assert samples(snapshot(well))["health_group_up", (("group", "readiness"),)] == 1
    assert samples(snapshot(well, draining=True))["health_group_up", (("group", "readiness"),)] == 0


def test_without_a_configuration_the_time_of_its_load_is_absent(monkeypatch):
    """Kinds may be the reason: one that cannot be loaded makes every configuration invalid."""

    def fail() -> None:
        raise KindError("a kind cannot be loaded")

    monkeypatch.setattr(metrics, "kinds", fail)
    text = render(snapshot([], degraded=True), Vitals(running=True, reload_ok=False), {}, content_type=TEXT).decode()

    assert "\nhealth_exporter_config_last_reload_success_timestamp_seconds " not in text
    assert "\nhealth_exporter_config_last_reload_successful 0.0\n" in text
    assert '\nhealth_group_up{group="readiness"} 0.0\n' in text


def test_the_series_are_exactly_those_of_the_configuration():
    """A removed check leaves nothing behind, and a changed one shows its new settings."""
    assert of_check("api")
    rest = [state for name, state in scene().states.items() if name != "api"]
    assert of_check("api", snapshot(rest)) == {}

    state = settled("P", period=10)
    changed = replace(state, spec=replace(state.spec, period=20, target="elsewhere"))
    assert of_check("api", snapshot([state]))["health_check_period_seconds",] == 10
    assert of_check("api", snapshot([changed]))["health_check_period_seconds",] == 20
    assert ("health_check_info", "critical", "elsewhere") in of_check("api", snapshot([changed]))


@pytest.mark.parametrize("content_type", FORMATS)
def test_samples_carry_no_timestamps(content_type):
    lines = exposed(content_type=content_type).splitlines()

    assert all(re.fullmatch(r"[a-z0-9_]+(\{[^}]*\})? [-+.e0-9]+", line) for line in lines if not line.startswith("#"))


def test_open_metrics_has_the_time_before_the_first_failure():
    """Right after the sample that it belongs to, where Prometheus looks for it. The text format has no such thing."""
    shown = snapshot([settled("PFWUFP"), settled("P", name="well")])
    lines = exposed(shown, OPEN_METRICS).splitlines()
    created = {line: lines[place - 1].split()[0] for place, line in enumerate(lines) if "_created" in line}

    labels = 'check="api",kind="scripted"'
    assert created == {
        f'health_check_failures_created{{{labels},reason="connect"}} 1.00100099e+06': (
            f'health_check_failures_total{{{labels},reason="connect"}}'
        ),
        f'health_check_failures_created{{{labels},reason="error"}} 1.00100299e+06': (
            f'health_check_failures_total{{{labels},reason="error"}}'
        ),
        f"health_check_failure_streak_runs_created{{{labels}}} 1.00100099e+06": (
            f"health_check_failure_streak_runs_sum{{{labels}}}"
        ),
    }
    assert "_created" not in exposed(shown, TEXT)


def test_a_check_that_has_failed_costs_few_series():
    def count(letters):
        lines = exposed(snapshot([settled(letters, failure_threshold=1)]), OPEN_METRICS).splitlines()
        return len([line for line in lines if 'check="api"' in line])

    assert [count(letters) - count("P") for letters in ("PF", "PFP", "PFPUP")] == [13, 10, 12]


def test_open_metrics_ends_once():
    assert exposed(content_type=OPEN_METRICS).count("# EOF") == 1
    assert exposed(content_type=OPEN_METRICS).endswith("\n# EOF\n")
    assert "# EOF" not in exposed(content_type=TEXT)


def test_numbers_beyond_every_measure_are_refused_before_they_get_here():
    for number in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(ValueError, match="not finite"):
            Measurement("load1", number)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_comes_out_as_it_went_in(number):
    state = settle(State(spec()), Result(Outcome.passed("", Measurement("seen", number)), 0, 0, 0))

    assert of_check("api", snapshot([state]))["health_seen",] == number


def test_a_measurement_made_twice_is_one_series():
    """Prometheus rejects a scrape with a duplicate."""
    twice = Outcome.passed("", Measurement("seen", 1), Measurement("seen", 2, fail=3))
    state = settle(State(spec()), Result(twice, 0, 0, 0))

    assert of_check("api", snapshot([state]))["health_seen",] == 2


@pytest.mark.parametrize(("content_type", "family"), [(TEXT, "health_seen_total"), (OPEN_METRICS, "health_seen")])
def test_a_measurement_with_the_suffix_of_counters_is_one(content_type, family):
    state = settle(State(spec()), Result(Outcome.passed("", Measurement("seen_total", 7)), 0, 0, 0))
    lines = exposed(snapshot([state]), content_type).splitlines()

    assert f"# TYPE {family} counter" in lines
    assert 'health_seen_total{check="api",kind="scripted"} 7.0' in lines


# Hostile text

HOSTILE = [
    'quotes " and "',
    "newline \n health_check_up 1",
    "carriage \r\n return",
    "backslash \\ \\n \\",
    "nul \0 and \x1b[31m",
    "lone surrogate \ud800 \udcff",
    "\u202eright to left\u202c",
    "}{,=#",
    " # EOF",
    "😀é",
    "x" * 1_000_000,
    "",
]


def hostile(text):
    outcome = Outcome.failed(Reason.BODY, text, Measurement("seen", 1, warn=0, fail=1))
    state = settle(State(spec(text, kind=text or "k", target=text)), Result(outcome, 0, 0, 0))
    return snapshot([state])


@pytest.mark.parametrize("text", HOSTILE, ids=[text[:15].encode("ascii", "replace").decode() for text in HOSTILE])
def test_no_text_breaks_the_exposition(text):
    """In both formats, also for Prometheus' parser; and the label has a maximum length."""
    both = [samples(hostile(text), content_type) for content_type in FORMATS]
    (name,) = {value for found in both for _, labels in found for label, value in labels if label == "check"}
    assert len(name) <= 200
    assert name == text[:200].encode("utf-8", "replace").decode()

    checked = subprocess.run(
        [command("promtool"), "check", "metrics"],
        input=exposed(hostile(text)).encode(),
        capture_output=True,
        timeout=30,
    )
    assert (checked.returncode, checked.stderr) == (0, b"")


@given(st.text(st.characters(codec=None), max_size=50))
def test_any_text_is_read_back_from_both_formats(text):
    read = text.encode("utf-8", "replace").decode()

    for content_type in FORMATS:
        found = samples(hostile(text), content_type)
        assert {value for _, labels in found for label, value in labels if label in ("check", "target")} == {read}


def test_free_text_is_in_no_label():
    state = settle(State(spec()), Result(Outcome.failed(Reason.BODY, "free text"), 0, 0, 0))

    assert "free text" not in exposed(snapshot([state]))


def test_the_whole_exposition_fits_the_vitals():
    text = exposed(vitals=Vitals(running=False))

    assert "\nhealth_exporter_workers 0.0\n" in text
    assert "\nhealth_exporter_config_last_reload_successful 1.0\n" in text


def test_only_the_current_status_has_a_series():
    for status in Status:
        state = replace(settled("P"), status=status)

        assert {key[1] for key in of_check("api", snapshot([state])) if key[0] == "health_check_status"} == {status}


@pytest.mark.parametrize("content_type", FORMATS)
def test_a_check_that_has_failed_has_a_histogram_of_its_streaks(content_type):
    """It begins with zeros at the first failure, so that a scrape can see them before the streak ends."""

    def shown(letters):
        lines = exposed(snapshot([settled(letters)]), content_type).splitlines()
        pattern = r"health_check_failure_streak_runs_(bucket|count|sum)\{(.*)\} (\S+)"
        found = (re.fullmatch(pattern, line) for line in lines)
        return [(line[1], line[2].partition("le=")[2].strip('"'), float(line[3])) for line in found if line]

    def histogram(*counts, total):
        bounds = ["1.0", "2.0", "4.0", "9.0", "+Inf"]
        buckets = [("bucket", bound, count) for bound, count in zip(bounds, counts, strict=True)]
        return [*buckets, ("count", "", counts[-1]), ("sum", "", total)]

    assert shown("PU") == []
    assert shown("PF") == histogram(0, 0, 0, 0, 0, total=0)
    assert shown("PFPFFFPFF") == histogram(1, 1, 2, 2, 2, total=4)


def test_a_histogram_of_latencies_for_those_who_want_one():
    state = replace(settled("P", latency_buckets=(0.1, 2.5)), latencies=(3, 1, 2), latency_sum=9.5)
    for content_type in (TEXT, OPEN_METRICS):
        shown = render(snapshot([state, settled("P", name="other")]), VITALS, {}, content_type=content_type)
        lines = [
            line for line in shown.decode().splitlines() if line.startswith("health_endpoint_latency_distribution")
        ]

        assert lines == [
            'health_endpoint_latency_distribution_seconds_bucket{check="api",kind="scripted",le="0.1"} 3.0',
            'health_endpoint_latency_distribution_seconds_bucket{check="api",kind="scripted",le="2.5"} 4.0',
            'health_endpoint_latency_distribution_seconds_bucket{check="api",kind="scripted",le="+Inf"} 6.0',
            'health_endpoint_latency_distribution_seconds_count{check="api",kind="scripted"} 6.0',
            'health_endpoint_latency_distribution_seconds_sum{check="api",kind="scripted"} 9.5',
        ]
