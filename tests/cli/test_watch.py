"""`check --watch`: the report is drawn again on a terminal, and a change is a line in a pipe."""

import os
import re
import signal
from pathlib import Path

import commands
import pytest
from make import FAIL, PASS, WARN, check, result, snapshot, spec
from support import PATIENCE
from terminals import terminal

from exporter.cli import watch
from exporter.evaluation.judge import judge
from exporter.evaluation.settle import settle
from exporter.model import Group, Outcome, Snapshot, State, Verdict
from exporter.render.columns import measure


def once(name: str, outcome: Outcome) -> State:
    return settle(State(spec(name, failure_threshold=1)), result(outcome))


def judged(*states: State, generation: int = 1) -> tuple[Snapshot, Verdict]:
    shown = snapshot(states, generation=generation)
    return shown, judge(shown, Group.ALL)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture
def size(monkeypatch):
    """The size of the terminal, which a test can change."""
    columns_and_lines = [80, 24]
    monkeypatch.setattr(watch.shutil, "get_terminal_size", lambda: os.terminal_size(columns_and_lines))
    return columns_and_lines


# In a pipe


def test_a_change_of_the_status_or_the_reason_is_a_line():
    lines = watch._Lines([check("a"), check("long-name")])
    first = lines.show(*judged(once("a", PASS), once("long-name", PASS)))

    assert re.fullmatch(r"(\S+Z  PASS     (a        |long-name)  scripted +well\n){2}", first)
    assert lines.show(*judged(once("a", PASS), once("long-name", PASS))) == ""
    assert re.fullmatch(
        r"\S+Z  FAIL     long-name  scripted  connect +refused\n",
        lines.show(*judged(once("a", PASS), once("long-name", FAIL))),
    )
    assert lines.show(*judged(once("a", WARN), once("long-name", PASS))).count("\n") == 2


def test_watch_ends_at_the_first_failure_if_it_is_fast(tmp_path):
    (tmp_path / "health.yml").write_text(
        """\
        checks:
          - {name: fine, memory: {failRatio: 2}, initialDelaySeconds: 1000}
          - {name: fails, exec: {command: ["false"]}, timeoutSeconds: 10}
        """
    )
    done = commands.run("check", "-w", "--fail-fast", "health.yml", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"Z  FAIL +fails +exec +exit +false exited with 1$", done.stdout.splitlines()[-1])


def test_watch_ends_when_nobody_reads(monkeypatch):
    class Closed:
        def isatty(self):
            return False

        def write(self, text):
            raise BrokenPipeError

    failing = check("fails", FAIL, timeout=PATIENCE)
    for stdout in (Closed(), None):
        monkeypatch.setattr(watch.sys, "stdout", stdout)

        assert watch.watch([failing], Group.ALL, fail_fast=False) == 1


@pytest.mark.parametrize("arguments", [["--format", "json"], ["--output", "x"]])
def test_watch_shows_only_text(arguments):
    refused = commands.run("check", "--watch", *arguments)

    assert refused.returncode == 2
    assert "--watch shows text on standard output: leave out --format and --output" in refused.stderr


# On a terminal


def test_a_drawing_replaces_the_one_before(size):
    screen = watch._Screen(2)
    first = screen.show(*judged(once("a", PASS)))
    again = screen.show(*judged(once("a", PASS)))
    second = screen.show(*judged(once("a", PASS), once("b", FAIL), generation=2))

    assert not first.startswith("\x1b[")
    assert "1 not run yet, " in first
    assert again == ""
    assert second.startswith(f"\x1b[{first.count(chr(10))}F")
    assert "not run yet" not in second
    assert second.endswith(" Ctrl-C ends\x1b[K\n\x1b[J")


def test_before_the_first_result_there_is_no_verdict(size):
    assert "no results yet, 2 not run yet, " in watch._Screen(2).show(*judged())
    assert "verdict: pass (no checks), " in watch._Screen(0).show(*judged())


def test_a_drawing_after_a_change_of_the_size_clears_the_terminal(size):
    screen = watch._Screen(1)
    screen.show(*judged(once("a", PASS)))
    size[:] = [60, 10]

    assert screen.show(*judged(once("a", PASS))).startswith("\x1b[H\x1b[2J")


@pytest.mark.parametrize("count", [3, 15, 40])
def test_a_drawing_fits_the_terminal(size, count):
    size[:] = [50, 20]
    states = [
        once(f"check-{number}", Outcome.passed("a summary that is too long for a line " * 3)) for number in range(count)
    ]
    lines = plain(watch._Screen(count).show(*judged(*states))).replace("\x1b[K", "").removesuffix("\x1b[J").splitlines()

    assert len(lines) < 20
    assert max(map(measure, lines)) < 50
    assert ("... and 24 more" in lines) == (count == 40)
    assert any("check-1 " in line for line in lines)


def test_ctrl_c_ends_it_quietly(tmp_path: Path):
    config = tmp_path / "health.yml"
    config.write_text("checks: [{name: fine, memory: {failRatio: 2}, periodSeconds: 1}]\n")
    seen = b""
    with terminal("check", "--watch", config) as (child, read):
        while seen.count(b"Ctrl-C ends") < 2:
            seen += read()
        child.send_signal(signal.SIGINT)
        while data := read():
            seen += data
        assert child.wait(PATIENCE) == 130

    assert b"Traceback" not in seen
    assert re.search(rb"\x1b\[\dF\x1b\[32mPASS", seen)
