"""Several exporters share one configuration: exactly one runs each check, and an additional one moves few."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import check as make_check

from exporter.evaluation.shard import Shard

OWNERS = {"api": 1, "mysql": 1, "load": 1, "disk": 0, "queue": 1, "mail": 0}
THOUSAND = [make_check(f"check-{number}") for number in range(1000)]


def owners(checks, count):
    """The shard of each check. Every check must have exactly one."""
    shares = [(index, check.spec.name) for index in range(count) for check in Shard(index, count).share(checks)]
    assert sorted(name for _, name in shares) == sorted(check.spec.name for check in checks)
    return {name: index for index, name in shares}


@given(st.sets(st.text(min_size=1, max_size=10), max_size=20), st.integers(1, 7))
def test_each_check_has_exactly_one_shard(names, count):
    owners([make_check(name) for name in sorted(names)], count)


def test_the_shares_are_about_equal():
    sizes = Counter(owners(THOUSAND, 4).values())

    assert all(200 <= sizes[index] <= 300 for index in range(4))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_an_additional_shard_takes_its_share_and_moves_nothing_else(count):
    before, after = owners(THOUSAND, count), owners(THOUSAND, count + 1)
    moved = {name for name in before if before[name] != after[name]}

    assert {after[name] for name in moved} == {count}
    assert len(moved) == pytest.approx(1000 / (count + 1), rel=0.2)


def test_the_order_in_the_file_does_not_matter():
    assert owners(THOUSAND, 3) == owners(THOUSAND[::-1], 3)


def test_a_share_keeps_the_order_of_the_file():
    share = Shard(1, 3).share(THOUSAND)

    assert [check for check in THOUSAND if check in share] == list(share)


def test_the_owner_of_a_name_is_the_same_in_every_version():
    assert owners([make_check(name) for name in ("api", "mysql", "load", "disk", "queue", "mail")], 3) == OWNERS


def test_checks_that_depend_on_one_another_stay_together():
    chain = [
        make_check(f"link-{number}", depends_on=(f"link-{number + 1}",) if number < 19 else ()) for number in range(20)
    ]
    star = [make_check(f"ray-{number}", depends_on=("sun",)) for number in range(20)]
    found = owners([*chain, *star, make_check("sun")], 5)

    assert len({found[check.spec.name] for check in chain}) == 1
    assert len({found[check.spec.name] for check in star} | {found["sun"]}) == 1


@pytest.mark.parametrize(
    ("name", "count", "index"),
    [("0", 1, 0), ("2", 3, 2), ("health-exporter-0", 3, 0), ("a-1-12", 13, 12), ("08", 9, 8)],
)
def test_a_shard_is_named_by_a_number_or_a_pod(name, count, index):
    assert Shard.parse(name, count) == Shard(index, count)


@pytest.mark.parametrize("name", ["", "exporter", "exporter-", "-1x", "exporter2", "1.5", "-", "exporter-1\n", "²"])
def test_a_name_without_a_number_is_rejected(name):
    with pytest.raises(ValueError, match="neither a number nor a pod's name"):
        Shard.parse(name, 3)


@pytest.mark.parametrize("name", ["3", "exporter-3", "exporter-999999999"])
def test_a_number_that_is_not_below_the_count_is_rejected(name):
    with pytest.raises(ValueError, match=r"counted from 0, and there are 3: raise --shards"):
        Shard.parse(name, 3)


CONFIGURATION = "checks:\n" + "".join(
    f"  - {{name: check-{number}, exec: {{command: ['true']}}, periodSeconds: 60}}\n" for number in range(30)
)


def test_three_exporters_run_all_checks_of_one_configuration(start):
    shards = [start(CONFIGURATION, "--shard", f"exporter-{index}", "--shards", "3") for index in range(3)]
    watched = [name for shard in shards for name in shard.metrics() if name.startswith("health_check_up{")]

    assert len(watched) == len(set(watched)) == 30
    assert all(sum(name.startswith("health_check_up{") for name in shard.metrics()) for shard in shards)


def test_a_reload_keeps_to_the_share(start, tmp_path):
    shard = start(CONFIGURATION, "--shard", "0", "--shards", "3", "--web.enable-lifecycle")
    before = {name for name in shard.metrics() if name.startswith("health_check_up{")}
    (tmp_path / "health.yml").write_text(CONFIGURATION.replace("periodSeconds: 60", "periodSeconds: 70"))

    assert shard.get("/-/reload", method="POST").status == 200
    assert {name for name in shard.metrics() if name.startswith("health_check_up{")} == before
    assert shard.line(r'msg="configuration loaded" checks=(\d+)').group(1) == str(len(before))
