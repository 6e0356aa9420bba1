"""Advice about probable mistakes in a valid configuration, in exactly these words."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from exporter.config.advice import give_advice
from exporter.config.checks import load
from exporter.probe.reference import AssumedEnvironment

HERE = Path(__file__).parents[1]


def advice_on(
    tmp_path: Path, text: str, scrape_interval: float = 30, environment: Mapping[str, str] | None = None
) -> list[str]:
    path = tmp_path / "x.yml"
    path.write_text(dedent(text))
    complaints = give_advice(load(path, environment=environment), scrape_interval)
    return [str(complaint).removeprefix(f"{tmp_path}/") for complaint in complaints]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("checks: []\n", ["x.yml:1: checks: no checks are configured, so every endpoint returns 200"]),
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
              - name: shop
                certificate: {host: shop.example.com}
                groups: [readiness, startup]
            """,
            [
                (
                    "x.yml:4: checks[0].groups: readiness and startup fail on every pod at once 7 days before the "
                    "certificate expires; without groups, only the alerts report it"
                )
            ],
        ),
        ("checks: [{name: shop, certificate: {host: shop.example.com}}]\n", []),
        (
            """\
            checks:
              - name: db
                tcpSocket: {port: 5432, host: db.example}
                groups: [liveness, startup]
            """,
            [
                (
                    "x.yml:4: checks[0].groups: liveness restarts the application, and the target is on a different "
                    "host; restarting this application cannot fix it"
                )
            ],
        ),
        (
            """\
            checks:
              - name: db
                tcpSocket:
                  host: db.example
                  port: 3306
            """,
            [
                (
                    "x.yml:5: checks[0].tcpSocket.port: MySQL and MariaDB count each connection without a login as an "
                    "error, and block this host's address after 100 in a row (max_connect_errors), also for the "
                    "application; use the kind mysql"
                )
            ],
        ),
        (
            """\
            checks:
              - name: telnet
                tcpSocket: {port: 23, send: "\\xff\\xfb\\x01", expect: login}
              - name: letters
                tcpSocket: {port: 6379, send: "ECHO grün\\r\\n", expect: grün}
              - name: control
                tcpSocket: {port: 6379, send: "\\x01\\r\\n", expect: x}
            """,
            [
                (
                    r"x.yml:3: checks[0].tcpSocket.send: text is sent in UTF-8: a character above \x7f, such as \xff, "
                    "is sent as two or more bytes"
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
                  - startup
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
                groups: [liveness, startup]
            """,
            [
                (
                    "x.yml:5: checks[0].failureThreshold: /livez returns 503 within 20 s (failureThreshold * "
                    "periodSeconds), less than the scrape interval of 30 s: unless the livenessProbe's "
                    "failureThreshold adds time, Prometheus may miss the reason for a restart"
                )
            ],
        ),
        (
            """\
            checks:
              - name: api
                httpGet: {port: 80}
                periodSeconds: 120
                groups: [liveness, readiness]
            """,
            [
                (
                    "x.yml:5: checks[0].groups: in liveness, but not in startup: after a restart, /livez reports the "
                    "previous process for up to 121 s (periodSeconds + timeoutSeconds), and the livenessProbe may end "
                    "the new one; add startup, and a startupProbe on /startupz"
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
            ["x.yml:5: checks[0].disk.failRatio: 90 means 9000 %, almost never reached; write 0.9 for 90 %"],
        ),
        (
            """\
            checks:
              - name: disk
                disk:
                  warnRatio: 0.95
            """,
            ["x.yml:4: checks[0].disk.warnRatio: never warns, because failRatio (0.9) is not above it"],
        ),
    ],
    ids=[
        *("nothing", "timeout", "certificate-in-groups", "certificate", "another-host", "mysql", "bytes"),
        *("whole-machine", "kill-unseen", "stale", "percent", "warn-above-fail"),
    ],
)
def test_a_probable_mistake_has_exactly_this_advice(tmp_path, text, expected):
    assert advice_on(tmp_path, text) == expected


@pytest.mark.parametrize(
    "check",
    [
        "{name: a, httpGet: {port: 80}, groups: [liveness, startup]}",
        "{name: a, httpGet: {port: 80, host: 127.0.0.2}, groups: [liveness, startup]}",
        "{name: a, tcpSocket: {port: 80, host: localhost}, groups: [liveness, startup]}",
        "{name: a, tcpSocket: {port: 80, host: '::1'}, groups: [liveness, startup]}",
        "{name: a, tcpSocket: {port: 80, host: db.example}, groups: [readiness]}",
        "{name: a, tcpSocket: {port: 3306}}",
        "{name: a, tcpSocket: {port: 3306, host: localhost}}",
        "{name: a, mysql: {host: db.example, username: health}}",
        "{name: a, exec: {command: ['true']}, groups: [liveness, startup]}",
        "{name: a, loadAverage: {failRatio: 4, warnRatio: 2}}",
        "{name: a, disk: {failRatio: 0.9, warnRatio: 0.8}}",
        "{name: a, memory: {}, periodSeconds: 1}",
        "{name: a, memory: {}, periodSeconds: 5, timeoutSeconds: 5}",
    ],
)
def test_a_sensible_check_has_no_advice(tmp_path, check):
    assert advice_on(tmp_path, f"checks:\n  - {check}\n") == []


@pytest.mark.parametrize(
    ("accepted", "expectation", "warns"),
    [
        ("gzip, br", "bodyContains: a", True),
        ("zstd;q=0.5", "jsonPath: [{path: $.a}]", True),
        ("gzip;q=1, deflate", "bodyNotContains: a", False),
        ("br", "expectStatus: [200]", False),
    ],
)
def test_a_compression_that_is_not_decoded_has_advice(tmp_path, accepted, expectation, warns):
    headers = f'[{{name: A, value: br}}, {{name: accept-encoding, value: "{accepted}"}}]'
    advice = advice_on(
        tmp_path, f"checks:\n- name: a\n  httpGet: {{port: 80, {expectation}, httpHeaders: {headers}}}\n"
    )

    assert [line.partition("a body")[0] for line in advice] == ["x.yml:3: checks[0].httpGet.httpHeaders[1]: "] * warns


def test_heartbeats_that_are_judged_too_rarely_or_refused_have_advice(tmp_path, monkeypatch):
    monkeypatch.setenv("JOB_TOKEN", "short")
    text = """\
        checks:
          - name: job
            heartbeat:
              maxAgeSeconds: 60
              token: {env: JOB_TOKEN}
            periodSeconds: 61
            initialDelaySeconds: 5
        """

    token, period, delay = advice_on(tmp_path, text)
    assert token == (
        "x.yml:5: checks[0].heartbeat.token.env: the token has fewer than 16 characters on this machine, so no "
        "heartbeat is accepted"
    )
    assert period == (
        "x.yml:6: checks[0].periodSeconds: a heartbeat is judged only every 61 s, and its maximum age is 60 s"
    )
    assert delay == (
        "x.yml:7: checks[0].initialDelaySeconds: the token is read by the first run, so heartbeats are refused with "
        "503 for 5 s"
    )
    monkeypatch.setenv("JOB_TOKEN", "a-token-of-16-ch")
    text = "checks: [{name: job, heartbeat: {maxAgeSeconds: 60, token: {env: JOB_TOKEN}}, periodSeconds: 60}]"
    assert advice_on(tmp_path, text) == []


def test_a_bare_connection_to_mysql_at_the_address_of_a_variable_has_advice(tmp_path):
    """The address of the pod counts like any other: only loopback is exempt."""
    text = "checks:\n  - {name: a, tcpSocket: {port: 3306, host: $(DB_HOST)}}\n"
    advice = advice_on(tmp_path, text, environment=AssumedEnvironment())

    assert any("max_connect_errors" in complaint for complaint in advice)


@pytest.mark.parametrize(("scrape_interval", "count"), [(30, 0), (30.5, 1), (0, 0)])
def test_a_restart_within_one_scrape_interval_has_advice(tmp_path, scrape_interval, count):
    text = "checks:\n  - {name: a, httpGet: {port: 80}, groups: [liveness, startup]}\n"

    assert len(advice_on(tmp_path, text, scrape_interval)) == count


def test_the_built_in_default_needs_no_advice():
    assert list(give_advice(load(), 30)) == []


def test_advice_is_in_the_order_of_the_lines(tmp_path):
    lines = advice_on(
        tmp_path,
        """\
        checks:
          - name: a
            groups: [liveness, startup]
            failureThreshold: 1
            timeoutSeconds: 20
            disk: {failRatio: 90, warnRatio: 90}
          - name: b
            memory: {failRatio: 90}
        """,
    )

    assert [line.split(":")[1] for line in lines] == ["3", "4", "5", "6", "6", "6", "8"]
    assert len(set(lines)) == len(lines)
