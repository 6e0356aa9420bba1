"""The status page: problems first, in words that a person on call can use, and in readable colors."""

import re
from html.parser import HTMLParser

import pytest
from make import FAIL, PASS, UNKNOWN, WARN, in_groups, result, settled, snapshot, spec
from render.scene import NOW, golden, scene

from exporter import __version__
from exporter.evaluation.settle import expire, settle
from exporter.model import Group, Identity, Outcome, Reason, State, Vitals
from exporter.render.page import CONTENT_SECURITY_POLICY, render
from exporter.server.routes import PROBE_PATHS


class Text(HTMLParser):
    """The text of a page, by the tags around it."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.seen.append((self.open[-1], " ".join(data.split())))

    def of(self, *tags):
        return [text for tag, text in self.seen if tag in tags]


def shown(*states, **options):
    return render(snapshot(states, **options), PROBE_PATHS, 1_001_000.0)


def after(*outcomes, **options):
    """The State after these runs, one per second until now."""
    state = State(spec(**options))
    for before, outcome in zip(reversed(range(len(outcomes))), outcomes, strict=True):
        state = settle(state, result(outcome, at=1000.0 - before))
    return state


@pytest.mark.parametrize("draining", [False, True])
def test_the_whole_page(draining):
    text = render(scene(draining=draining), PROBE_PATHS, NOW).replace(
        f"Health Exporter {__version__}", "Health Exporter ..."
    )

    golden(
        f"scene{'.draining' * draining}.html", re.sub(r"<style>.*</style>", "<style>...</style>", text, flags=re.DOTALL)
    )


@pytest.mark.parametrize("html", [render(scene(), PROBE_PATHS, NOW), shown()], ids=["scene", "no checks"])
def test_every_tag_is_closed(html):
    assert Text(html).open == []


def test_what_is_wrong_comes_first():
    states = [
        after(*outcomes, name=name, failure_threshold=2)
        for name, outcomes in {
            "well": (PASS,),
            "shaky": (PASS, FAIL),
            "high": (WARN,),
            "blind": (UNKNOWN,),
            "down": (FAIL, FAIL),
        }.items()
    ]

    assert re.findall(r'<tr class="(\w+)" id="check-(\w+)">', shown(*states)) == [
        ("fail", "down"),
        ("unknown", "blind"),
        ("warn", "high"),
        ("pass", "shaky"),
        ("pass", "well"),
    ]


@pytest.mark.parametrize(
    ("outcomes", "headline", "worst"),
    [
        ([PASS, PASS], "2 checks, all pass", "pass"),
        ([PASS, WARN], "1 warn of 2 checks", "warn"),
        ([UNKNOWN, WARN], "1 unknown, 1 warn of 2 checks", "unknown"),
        ([UNKNOWN, FAIL], "1 fail, 1 unknown of 2 checks", "fail"),
        ([], "no checks", "unknown"),
    ],
)
def test_the_headline_and_the_title_say_how_things_stand(outcomes, headline, worst):
    html = shown(*(after(each, name=str(number), failure_threshold=1) for number, each in enumerate(outcomes)))

    assert f'<h1 class="{worst}">{headline}</h1>' in html
    assert f"<title>{headline} · Health Exporter</title>" in html


@pytest.mark.parametrize(
    ("outcomes", "note"),
    [
        ((PASS,), []),
        ((FAIL, FAIL, FAIL), []),
        ((PASS, FAIL), ["latest run: fail (connect), 1 of 3 failures in a row"]),
        ((PASS, FAIL, FAIL), ["latest run: fail (connect), 2 of 3 failures in a row"]),
        ((PASS, UNKNOWN), ["latest run: unknown (error), not counted"]),
        ((UNKNOWN,), ["could not run"]),
        ((FAIL,), ["latest run: fail (connect), 1 of 3 failures in a row"]),
        ((FAIL, FAIL, FAIL, PASS), ["latest run: pass, 1 of 2 successes in a row"]),
    ],
    ids=lambda each: "".join(outcome.status[0] for outcome in each) if isinstance(each[:1], tuple) else "",
)
def test_a_latest_run_that_is_not_what_the_status_says_is_told(outcomes, note):
    threshold = 2 if outcomes[0] is FAIL else 1

    assert Text(shown(after(*outcomes, success_threshold=threshold))).of("em") == note


def test_a_stale_result_is_said_to_be_too_old():
    state = expire(after(PASS, stale_after=30), 1031, 1_001_000)

    assert Text(shown(state)).of("em") == ["stale: a result counts for 30.0 s"]


def test_reason_numbers_limits_and_age_are_there():
    text = Text(render(scene(), PROBE_PATHS, NOW))
    words = " ".join(each for _, each in text.seen)

    assert "fail timeout web httpGet https://web.example/ readiness no answer within 1 s" in words
    assert "disk_used_ratio 84.0 % (warn 80.0 %, fail 90.0 %)" in words
    assert "last run 30.0 s ago took 12.5 ms fail for 40.0 s 5 runs, 4 unhealthy" in words
    assert "has not run yet last run never unknown since start 0 runs" in words


def test_a_verdict_names_its_culprits_and_links_to_them():
    html = shown(*(after(FAIL, name=f"c{number}", failure_threshold=1) for number in range(8)))

    assert '<span>readiness: <a href="#check-c0">c0</a>, ' in html
    assert '<a href="#check-c4">c4</a> and 3 more</span>' in html
    assert "<span>liveness: no checks</span>" in html


def test_shutting_down_is_said_and_why_readiness_is_false():
    html = shown(settled("P", groups=in_groups(Group.READINESS)), draining=True)

    assert '<h1 class="pass">1 check, all pass</h1>' in html
    assert "Shutting down: /readyz returns 503." in html
    assert "<strong>503</strong>\n<span>readiness: shutting down</span>" in html


def test_errors_of_the_configuration_are_shown_and_what_follows_from_them():
    errors = "health.yml:2: checks[0].<b>: unknown key\nhealth.yml:3: checks[1]: has no kind"
    vitals = Vitals(running=True, complaint=errors, complaint_time=NOW - 720)
    kept = render(scene(), PROBE_PATHS, NOW, vitals=vitals)
    degraded = render(snapshot([], degraded=True), PROBE_PATHS, NOW, vitals=vitals)

    for html in (kept, degraded):
        assert (
            "<li>health.yml:2: checks[0].&lt;b&gt;: unknown key</li><li>health.yml:3: checks[1]: has no kind</li>"
            in html
        )
        assert "Rejected at 2023-11-14 22:01:20 UTC (12 min ago):" in html
    assert "A file was not loaded. The previous one stays in use." in kept
    assert "The configuration is not loaded: /readyz returns 503 until it is valid." in degraded
    assert '<h1 class="unknown">no configuration</h1>' in degraded
    assert "<strong>503</strong>\n<span>readiness: no configuration</span>" in degraded
    assert "every endpoint returns 200" not in degraded


def test_the_page_shows_which_exporter_it_is():
    identity = Identity("web-7d9f4", "/etc/health/<health>.yml")
    html = render(scene(), PROBE_PATHS, NOW, vitals=Vitals(True, reload_time=NOW - 7200, identity=identity))

    assert "· web-7d9f4 · Health Exporter</title>" in html
    assert (
        "<p>web-7d9f4: /etc/health/&lt;health&gt;.yml, 9 checks, loaded at 2023-11-14 20:13:20 UTC (2 h ago)</p>"
        in html
    )


def test_what_the_configuration_says_about_a_check_is_shown():
    texts = {"owner": "<shop>", "description": "Orders wait.", "runbook_url": "https://runbooks.example/?a=1&b=2"}
    html = shown(after(FAIL, **texts))

    assert "readiness · &lt;shop&gt;" in html
    assert "<small>Orders wait.</small>" in html
    assert '<a href="https://runbooks.example/?a=1&amp;b=2" rel="noreferrer">runbook</a>' in html


def test_the_page_renews_itself_and_can_be_kept_still():
    still = render(scene(), PROBE_PATHS, NOW, refresh=False)

    assert '<meta http-equiv="refresh" content="10">' in render(scene(), PROBE_PATHS, NOW)
    assert "http-equiv" not in still
    assert '<a href="/">' in still


def test_a_clock_that_went_back_makes_no_negative_ages():
    html = render(scene(), PROBE_PATHS, NOW - 3600)

    assert "-" not in "".join(re.findall(r"[-\d.]+ \w+ ago", html))


@pytest.mark.parametrize(
    "evil", ["<script>alert(1)</script>", "\"'><img src=x>", "{{ 7 * 7 }}", "&lt;", "\ud800", "\0"]
)
def test_hostile_text_is_text(evil):
    state = after(Outcome.failed(Reason.BODY, evil), name=evil, kind=evil, target=evil, failure_threshold=1)

    html = shown(state)

    assert len(re.findall(r"<(script|img)", html)) == 0
    assert "49" not in html
    html.encode()


# Colours: WCAG AA wants 4.5 for text, and 3 for what is large or no text.

STYLE = re.search(r"<style>(.*)</style>", render(scene(), PROBE_PATHS, NOW), re.DOTALL)[1]
LIGHT, DARK = (
    dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
)


def contrast(one, other):
    def luminance(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *((text, "paper") for text in ("ink", "dim", "pass", "warn", "fail", "unknown")),
        *((text, "card") for text in ("ink", "dim", "pass", "fail")),
        *((text, "tint") for text in ("ink", "dim", "fail", "warn")),
    ],
)
def test_every_text_has_contrast(scheme, text, ground):
    assert contrast(scheme[text], {**LIGHT, **scheme}[ground]) >= 4.5


def test_nothing_is_loaded_from_anywhere():
    html = render(scene(), PROBE_PATHS, NOW)

    assert not re.findall(r'(?:src|href)="(?!/|#|data:)', html)
    assert re.findall(r'href="(data:[^,"]*)', html) == ["data:image/svg+xml"]
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in CONTENT_SECURITY_POLICY
