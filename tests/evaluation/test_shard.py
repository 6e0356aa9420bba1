"""Several exporters share one configuration: each check is watched by exactly one, and a further one moves few."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import check

from exporter.evaluation.shard import Shard

OWNERS = {"api": 1, "mysql": 1, "load": 1, "disk": 0, "queue": 1, "mail": 0}
THOUSAND = [check(f"check-{number}") for number in range(1000)]


def owners(checks, count):
    """Which shard has which check, if every check has exactly one."""
    shares = [(index, each.spec.name) for index in range(count) for each in Shard(index, count).share(checks)]
    assert sorted(name for _, name in shares) == sorted(each.spec.name for each in checks)
    return {name: index for index, name in shares}


@given(st.sets(st.text(min_size=1, max_size=10), max_size=20), st.integers(1, 7))
def test_each_check_has_exactly_one_shard(names, count):
    owners([check(name) for name in sorted(names)], count)


def test_the_shares_are_about_equal():
    sizes = Counter(owners(THOUSAND, 4).values())

    assert all(200 <= sizes[index] <= 300 for index in range(4))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_a_further_shard_takes_its_part_and_moves_nothing_else(count):
    before, after = owners(THOUSAND, count), owners(THOUSAND, count + 1)
    moved = {name for name in before if before[name] != after[name]}

    assert {after[name] for name in moved} == {count}
    assert len(moved) == pytest.approx(1000 / (count + 1), rel=0.2)


def test_the_order_in_the_file_decides_nothing():
    assert owners(THOUSAND, 3) == owners(THOUSAND[::-1], 3)


def test_a_share_keeps_the_order_of_the_file():
    share = Shard(1, 3).share(THOUSAND)

    assert [each for each in THOUSAND if each in share] == list(share)


def test_the_owner_of_a_name_is_the_same_in_every_version():
    assert owners([check(name) for name in ("api", "mysql", "load", "disk", "queue", "mail")], 3) == OWNERS


def test_checks_that_depend_on_one_another_stay_together():
    chain = [check(f"link-{number}", depends_on=(f"link-{number + 1}",) if number < 19 else ()) for number in range(20)]
    star = [check(f"ray-{number}", depends_on=("sun",)) for number in range(20)]
    found = owners([*chain, *star, check("sun")], 5)

    assert len({found[each.spec.name] for each in chain}) == 1
    assert len({found[each.spec.name] for each in star} | {found["sun"]}) == 1


@pytest.mark.parametrize(
    ("name", "count", "index"),
    [("0", 1, 0), ("2", 3, 2), ("health-exporter-0", 3, 0), ("a-1-12", 13, 12), ("08", 9, 8)],
)
def test_a_shard_is_named_by_a_number_or_a_pod(name, count, index):
    assert Shard.named(name, count) == Shard(index, count)


@pytest.mark.parametrize("name", ["", "exporter", "exporter-", "-1x", "exporter2", "1.5", "-", "exporter-1\n", "²"])
def test_what_names_no_shard_is_refused(name):
    with pytest.raises(ValueError, match="neither a number nor a pod's name"):
        Shard.named(name, 3)


@pytest.mark.parametrize("name", ["3", "exporter-3", "exporter-999999999"])
def test_a_shard_beyond_their_number_is_refused(name):
    with pytest.raises(ValueError, match=r"counted from 0, and there are 3: raise --shards"):
        Shard.named(name, 3)


CONFIGURATION = "checks:\n" + "".join(
    f"  - {{name: check-{number}, exec: {{command: ['true']}}, periodSeconds: 60}}\n" for number in range(30)
)


def test_three_exporters_watch_the_whole_of_one_configuration(start):
    shards = [start(CONFIGURATION, "--shard", f"exporter-{index}", "--shards", "3") for index in range(3)]
    watched = [name for each in shards for name in each.metrics() if name.startswith("health_check_up{")]

    assert len(watched) == len(set(watched)) == 30
    assert all(sum(name.startswith("health_check_up{") for name in each.metrics()) for each in shards)


def test_a_reload_keeps_to_the_share(start, tmp_path):
    shard = start(CONFIGURATION, "--shard", "0", "--shards", "3", "--web.enable-lifecycle")
    before = {name for name in shard.metrics() if name.startswith("health_check_up{")}
    (tmp_path / "health.yml").write_text(CONFIGURATION.replace("periodSeconds: 60", "periodSeconds: 70"))

    assert shard.get("/-/reload", method="POST").status == 200
    assert {name for name in shard.metrics() if name.startswith("health_check_up{")} == before
    assert shard.line(r'msg="configuration loaded" checks=(\d+)').group(1) == str(len(before))
