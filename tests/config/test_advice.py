"""Advice: what is allowed in a configuration and rarely meant, each thing once and in exactly these words."""

from pathlib import Path
from textwrap import dedent

import pytest

from exporter.config.advice import advice
from exporter.config.checks import load

HERE = Path(__file__).parents[1]


def given(tmp_path: Path, text: str, scrape_interval: float = 30) -> list[str]:
    path = tmp_path / "x.yml"
    path.write_text(dedent(text))
    return [str(each).removeprefix(f"{tmp_path}/") for each in advice(load(path), scrape_interval)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("checks: []\n", ["x.yml:1: checks: nothing is watched, and so every answer is yes"]),
        (
            """\
            checks:
              - name: api
                httpGet: {port: 80}
                periodSeconds: 5
                timeoutSeconds: 6
            """,
            [
                (
                    "x.yml:5: checks[0].timeoutSeconds: a timeout of 6 s is longer than the period of 5 s: "
                    "a run that hangs delays the next"
                )
            ],
        ),
        (
            """\
            checks:
              - name: db
                tcpSocket: {port: 3306, host: db.example}
                groups: [liveness]
            """,
            [
                (
                    "x.yml:4: checks[0].groups: liveness restarts the application, and db.example is a different host; "
                    "restarting this application cannot fix it"
                )
            ],
        ),
        (
            """\
            checks:
              - name: load
                loadAverage: {}
                groups:
                  - readiness
                  - liveness
            """,
            [
                (
                    "x.yml:4: checks[0].groups: liveness restarts the application, and the load average is the whole "
                    "machine's; a restart cannot reduce load that other processes cause"
                )
            ],
        ),
        (
            """\
            checks:
              - name: api
                httpGet: {port: 80}
                periodSeconds: 2
                failureThreshold: 10
                groups: [liveness]
            """,
            [
                (
                    "x.yml:5: checks[0].failureThreshold: /livez answers 503 within 20 s (failureThreshold * "
                    "periodSeconds): unless the kubelet's own count goes on for longer, a Prometheus that scrapes "
                    "every 30 s may not have seen the reason before the kill"
                )
            ],
        ),
        (
            """\
            checks:
              - name: disk
                disk:
                  path: /
                  failRatio: 90
            """,
            ["x.yml:5: checks[0].disk.failRatio: 90 is 9000%, and is hardly ever reached; 90 % is written 0.9"],
        ),
        (
            """\
            checks:
              - name: disk
                disk:
                  warnRatio: 0.95
            """,
            ["x.yml:4: checks[0].disk.warnRatio: never warns, since failRatio (0.9) is not above it"],
        ),
    ],
    ids=["nothing", "timeout", "another-host", "whole-machine", "kill-unseen", "percent", "warn-above-fail"],
)
def test_each_piece_of_advice_is_given_once_in_these_words(tmp_path, text, expected):
    assert given(tmp_path, text) == expected


@pytest.mark.parametrize(
    "check",
    [
        "{name: a, httpGet: {port: 80}, groups: [liveness, readiness]}",
        "{name: a, httpGet: {port: 80, host: 127.0.0.2}, groups: [liveness]}",
        "{name: a, tcpSocket: {port: 80, host: localhost}, groups: [liveness]}",
        "{name: a, tcpSocket: {port: 80, host: '::1'}, groups: [liveness]}",
        "{name: a, tcpSocket: {port: 80, host: db.example}, groups: [readiness]}",
        "{name: a, exec: {command: ['true']}, groups: [liveness]}",
        "{name: a, loadAverage: {failRatio: 4, warnRatio: 2}}",
        "{name: a, disk: {failRatio: 0.9, warnRatio: 0.8}}",
        "{name: a, memory: {}, periodSeconds: 1}",
        "{name: a, memory: {}, periodSeconds: 5, timeoutSeconds: 5}",
    ],
)
def test_what_is_sensible_gets_no_advice(tmp_path, check):
    assert given(tmp_path, f"checks:\n  - {check}\n") == []


@pytest.mark.parametrize(("scrape_interval", "count"), [(30, 0), (30.5, 1), (0, 0)])
def test_the_scrape_interval_decides_whether_a_kill_is_seen(tmp_path, scrape_interval, count):
    text = "checks:\n  - {name: a, httpGet: {port: 80}, groups: [liveness]}\n"

    assert len(given(tmp_path, text, scrape_interval)) == count


def test_the_built_in_default_needs_no_advice():
    assert list(advice(load(None), 30)) == []


def test_all_advice_on_a_file_comes_in_the_order_of_its_lines(tmp_path):
    advised = given(
        tmp_path,
        """\
        checks:
          - name: a
            groups: [liveness]
            failureThreshold: 1
            timeoutSeconds: 20
            disk: {failRatio: 90, warnRatio: 90}
          - name: b
            memory: {failRatio: 90}
        """,
    )

    assert [line.split(":")[1] for line in advised] == ["3", "4", "5", "6", "6", "6", "8"]
    assert len(set(advised)) == len(advised)
