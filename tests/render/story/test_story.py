"""The story of each incident is the one that an engineer on call needs, from whichever source."""

import re
from pathlib import Path

import pytest
from make import check, in_groups
from render.scene import golden
from render.story.plays import OK, PLAYS, REFUSED
from render.story.theatre import BEGIN, Theatre, Times

from exporter.evaluation.entries import encode
from exporter.model import Group
from exporter.render.story.chronicle import parse
from exporter.render.story.paragraphs import MAX_EPISODES
from exporter.render.story.prose import MAX_NAMES
from exporter.render.story.story import MAX_INCIDENTS, write
from exporter.server.recorded import read_document

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent
NAMES = [f"{number:02}-{play.__name__.replace('_', '-')}" for number, play in enumerate(PLAYS, 1)]


@pytest.mark.parametrize(("name", "play"), [*zip(NAMES, PLAYS, strict=True)], ids=NAMES)
def test_the_running_exporter_and_its_file_have_the_expected_story(name, play, tmp_path):
    lines = []
    theatre, since = play(Theatre(sink=lambda entry: lines.append(encode(entry))))
    document = theatre.document()
    story = write(parse(document), theatre.wall() - since)
    golden(f"story/stories/{name}.txt", story + "\n")

    path = tmp_path / "history.jsonl"
    path.write_text("\n".join([*lines, *map(encode, theatre.answers.entries())]))
    recorded = {**read_document(path), "until": document["until"]}
    assert write(parse(recorded), theatre.wall() - since) == story


def test_the_guide_shows_one_of_them():
    page = (ROOT / "docs" / "history.md").read_text()
    shown = re.search(r"```text\n(.*?)```", page, re.DOTALL)[1]

    assert shown in (HERE / "stories" / f"{NAMES[1]}.txt").read_text()


def unwrap(story):
    return re.sub(r"\n {3,}", " ", story)


def fail_each_hour(names, hours, **options):
    """A day on which these checks fail for 30 s each hour."""
    theatre = Theatre()
    theatre.targets = dict.fromkeys(names, lambda now: REFUSED if now % 3600 < 30 and now > 60 else OK)
    theatre.start()
    theatre.watch(*(check(name, failure_threshold=1, **options) for name in names))
    return theatre.play(hours * 3600 + 60)


def test_earlier_incidents_are_counted():
    story = write(fail_each_hour(["web"], MAX_INCIDENTS + 2).chronicle(), BEGIN)

    assert f"The story has the latest {MAX_INCIDENTS} incidents. 3 earlier ones are left off." in story
    assert story.count("UTC, for 30 s: web failed") == MAX_INCIDENTS


def test_the_story_of_one_check_does_not_miss_the_kubelet_s_other_requests():
    """It got 503 because of another check then, so it did not stop to ask."""
    theatre = Theatre()
    theatre.targets = {
        "api": lambda now: REFUSED if 100 <= now < 200 else OK,
        "db": lambda now: REFUSED if 170 <= now < 300 else OK,
    }
    theatre.start()
    theatre.watch(*(check(name, groups=in_groups(Group.LIVENESS)) for name in theatre.targets))
    theatre.run_container(liveness=Times(10, 99))
    story = unwrap(write(theatre.play(290).chronicle(), BEGIN, check="api"))

    assert "because of api (connect) and db (connect): 17 times until 03:04:50." in story
    assert "db failed" not in story
    assert "did not request" not in story
    assert "By then, api had passed." in story


def test_many_checks_share_sentences():
    names = [f"c{number:02}" for number in range(MAX_EPISODES + 7)]
    story = write(fail_each_hour(names, 1, owner="shop").chronicle(), BEGIN)

    assert re.findall(r"(c\d\d): Owner: shop\.", story) == names[:MAX_EPISODES]
    assert len(re.findall(r"c\d\d failed \(connect\)", story)) == MAX_EPISODES
    assert "other checks changed as well: c08, c09, c10, c11, c12 and 2 more." in unwrap(story)
    assert "By then, all of them had passed again." in story


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"owner": "shop"}, "web: Owner: shop."),
        ({"description": "Is it open?"}, "web: Is it open?"),
        ({"description": "The shop", "owner": "Shop Inc."}, "web: The shop. Owner: Shop Inc."),
        ({"runbook_url": f"https://wiki.example/{'a-b/' * 100}"}, f"web: Runbook: https://wiki.example/{'a-b/' * 100}"),
    ],
)
def test_an_incident_ends_with_what_is_configured_of_its_check(options, line):
    story = unwrap(write(fail_each_hour(["web"], 1, **options).chronicle(), BEGIN, 40))

    assert story.endswith(f"No client received 503 because of web. {line}")


def test_a_check_that_is_removed_has_no_owner_any_more():
    theatre = fail_each_hour(["web"], 1, owner="shop")
    theatre.targets["db"] = lambda now: OK
    theatre.watch(check("db"), second=3680)
    story = write(theatre.play(3700).chronicle(), BEGIN)

    assert "web failed" in story
    assert "Owner" not in story


def test_a_sentence_has_some_names_and_counts_the_others():
    story = write(fail_each_hour([f"c{number}" for number in range(MAX_NAMES + 2)], 1).chronicle(), BEGIN)

    assert "c0, c1, c2, c3, c4 and 2 more failed\n" in story
    assert "No client received 503 because of c0, c1, c2, c3, c4 and 2 more.\n" in story + "\n"
