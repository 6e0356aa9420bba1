"""The manual of the kinds on the command line: the same texts as in the reference."""

import re
from pathlib import Path

import commands
import pytest

from exporter.cli.manual import list_topics, write
from exporter.kinds import kinds

REFERENCE = Path(__file__).parent.parent.parent / "docs"


def squeeze(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_the_overview_has_every_kind():
    shown = commands.run("kinds")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert [line.split()[0] for line in shown.stdout.partition("\n\n")[0].splitlines() if line[0] != " "] == [*kinds()]


@pytest.mark.parametrize("kind", kinds())
def test_a_manual_has_everything_that_the_reference_has(kind):
    page = (REFERENCE / "kinds.md").read_text().partition(f"\n## {kind}\n")[2].partition("\n## ")[0]
    text = squeeze("\n".join(write(kind, 80)))

    for name, cell in re.findall(r"^\| `([^`]+)` \|.* \| ([^|]+) \|$", page, re.MULTILINE):
        assert f" {name} " in text
        assert squeeze(cell) in text
    for example in kinds()[kind].examples:
        assert squeeze(example) in text


@pytest.mark.parametrize("width", [40, 80])
def test_every_line_fits(width):
    for topic in ("", "check", *kinds()):
        prose = "\n".join(write(topic, width)).partition("\nEXAMPLE\n")[0]
        assert max(len(line) for line in prose.splitlines() if "<" not in line and "/" not in line) <= max(width, 56)


@pytest.mark.parametrize(
    ("topic", "lines"),
    [
        ("httpGet.port", ["  port <integer>  required", "      Port to connect to."]),
        ("httpGet.scheme", ["  scheme <HTTP or HTTPS>  default: HTTP"]),
        ("httpGet.jsonPath.path", ["  jsonPath[].path <string>  required"]),
        ("httpGet.jsonPath[].path", ["  jsonPath[].path <string>  required"]),
        ("check.periodSeconds", ["  periodSeconds <integer>  default: 10"]),
    ],
)
def test_one_option(topic, lines):
    assert write(topic, 80)[: len(lines)] == lines


def test_an_option_comes_with_the_keys_inside_it():
    assert [line.split()[0] for line in write("file.of", 80) if line.startswith("  ") and line[2] != " "] == [
        *("of", "of.process", "of.commandLine")
    ]


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("httpget", "no kind httpget, did you mean httpGet?; `health-exporter kinds` lists all"),
        ("snmp", "no kind snmp; `health-exporter kinds` lists all"),
        (
            "httpGet.expctStatus",
            "httpGet has no option expctStatus, did you mean expectStatus?; `health-exporter kinds httpGet` lists all",
        ),
        ("check.", "check has no option ; `health-exporter kinds check` lists all"),
    ],
)
def test_an_unknown_topic_is_refused(topic, message):
    refused = commands.run("kinds", topic)

    assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", f"{message}\n")


def test_topics_are_completed():
    assert {"httpGet", "check"} <= {*list_topics("ht")}
    assert "httpGet.jsonPath.equals" in list_topics("httpGet.j")
    assert list_topics("nope.x") == []
