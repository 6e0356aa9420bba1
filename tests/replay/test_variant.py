"""`--set` and `--kubelet`: every option that is replayed, and a message for all others."""

import pytest
from make import in_groups, spec

from exporter.model import Group
from exporter.replay.recording import ReplayError
from exporter.replay.stretches import Timing
from exporter.replay.variant import MANIFESTS, MAX_VARIANTS, make_variants, parse_kubelet

NAMES = ("api", "db", "a.b")
API = spec(groups=in_groups(Group.LIVENESS))


def made(*sets):
    return make_variants(sets, [], MANIFESTS, NAMES)


def names(*sets):
    return [variant.name for variant in made(*sets)]


def test_the_first_variant_is_what_was_recorded():
    assert names() == ["as recorded"]
    assert made()[0].apply(API) is API


def test_several_values_are_a_variant_each_and_several_options_are_combined():
    assert names("api.failureThreshold=2, 5", "api.periodSeconds=20") == [
        "as recorded",
        "api.failureThreshold=2 api.periodSeconds=20",
        "api.failureThreshold=5 api.periodSeconds=20",
    ]


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("api.failureThreshold=5", "failure_threshold", 5),
        ("failureThreshold=5", "failure_threshold", 5),
        ("db.failureThreshold=5", "failure_threshold", 3),
        ("api.failureThreshold=5", "stale_after", 51),  # it follows, as in a configuration
        ("api.periodSeconds=20", "period", 20),
        ("api.periodSeconds=20", "stale_after", 61),
        ("api.staleAfterSeconds=100", "stale_after", 100),
        ("api.groups=readiness", "groups", in_groups(Group.READINESS)),
        ("api.groups=[liveness, readiness]", "groups", in_groups(Group.LIVENESS, Group.READINESS)),
        ("api.groups=[]", "groups", in_groups()),
        ("livenessProbe.failureThreshold=6", "failure_threshold", 3),
    ],
)
def test_an_option_is_changed_of_one_check_or_of_all(text, field, value):
    assert getattr(made(text)[1].apply(API), field) == value


def test_stale_after_seconds_stays_if_it_was_configured():
    configured = spec(stale_after=99)

    assert made("failureThreshold=5")[1].apply(configured).stale_after == 99


def test_a_probe_is_changed_in_a_variant_or_as_it_is_now():
    now = parse_kubelet(["livenessProbe.failureThreshold=3", "readiness.periodSeconds=5"])
    (_, other) = make_variants(["readinessProbe.successThreshold=2"], [], now, NAMES)

    assert (now.liveness, now.readiness) == (Timing(10, 3), Timing(5, 2))
    assert (other.kubelet.liveness, other.kubelet.readiness) == (Timing(10, 3), Timing(5, 2, 2))


def test_too_many_variants_are_refused():
    values = ",".join(str(number) for number in range(1, MAX_VARIANTS + 2))

    with pytest.raises(ReplayError, match=f"{MAX_VARIANTS + 1} variants are too many"):
        made(f"api.failureThreshold={values}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("api", "--set api: write an option and a value"),
        ("api.failureThreshold=", "write an option and a value"),
        ("web.failureThreshold=5", "--set web.failureThreshold=5: no runs of web are recorded; the checks are: a.b"),
        ("api.failureTreshold=5", "unknown key, did you mean failureThreshold?"),
        ("api.failureThreshold=many", "--set api.failureThreshold=many: "),
        ("api.failureThreshold=-1", "--set api.failureThreshold=-1: "),
        ("api.groups=alive", "--set api.groups=alive: "),
        ("api.timeoutSeconds=5", "timeoutSeconds is not replayed, only failureThreshold, successThreshold"),
        ("livenessProbe.initialDelaySeconds=5", "of a probe is not replayed, only periodSeconds, failureThreshold"),
    ],
)
def test_any_other_option_is_refused_with_a_message(text, message):
    with pytest.raises(ReplayError) as caught:
        made(text)
    assert message in str(caught.value)


def test_a_threshold_that_kubernetes_refuses_is_refused():
    with pytest.raises(ReplayError, match="successThreshold must be 1 for a check in the group liveness"):
        made("api.successThreshold=2")[1].apply(API)


@pytest.mark.parametrize("text", ["api.failureThreshold=3", "livenessProbe.periodSeconds=5,10"])
def test_kubelet_takes_one_number_of_a_probe(text):
    with pytest.raises(ReplayError, match="write a probe, an option and a number"):
        parse_kubelet([text])
