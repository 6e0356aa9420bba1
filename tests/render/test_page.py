"""The status page: problems first, in words that a person on call can use, and in readable colors."""

import gzip
import re
from html.parser import HTMLParser

import pytest
from make import FAIL, PASS, UNKNOWN, WARN, in_groups, result, settled, snapshot, spec
from render.fleet import VITALS, make_fleet
from render.scene import NOW, golden, scene

from exporter import __version__
from exporter.config.files import BUILT_IN
from exporter.evaluation.history import History, Transition
from exporter.evaluation.settle import expire, settle
from exporter.model import Group, Identity, Outcome, Reason, State, Status, Vitals
from exporter.render.filters import Filter
from exporter.render.page import MAX_CHANGES, MAX_OPEN, MAX_UNFOLDED, Past, render
from exporter.render.shell import CONTENT_SECURITY_POLICY
from exporter.server.pages import LEVEL
from exporter.server.routes import PROBE_PATHS

VOID = ("meta", "link", "input")


class Text(HTMLParser):
    """The text of a page, by the tags around it."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and self.open[-1] not in ("style", "script"):
            self.seen.append((self.open[-1], " ".join(data.split())))

    def of(self, *tags):
        return [text for tag, text in self.seen if tag in tags]


def words(html):
    return " ".join(text for _, text in Text(html).seen)


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
        f"scene{'.draining' * draining}.html",
        re.sub(r"<(style|script)>.*?</\1>", r"<\1>...</\1>", text, flags=re.DOTALL),
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

    assert re.findall(r'<li id="check-(\w+)" class="(\w+)">', shown(*states)) == [
        ("down", "fail"),
        ("blind", "unknown"),
        ("high", "warn"),
        ("shaky", "pass"),
        ("well", "pass"),
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


def test_reason_numbers_limits_and_times_are_there():
    found = words(render(scene(), PROBE_PATHS, NOW))

    assert "fail timeout web httpGet https://web.example/ no answer within 1 s" in found
    assert "disk used 84 % warn 80 %, fail 90 %" in found
    assert "last run 22:12:50 UTC 30 s ago , took 12.5 ms fail since 22:12:40 UTC 40 s ago , 5 runs, 4 un" in found
    assert "has not run yet" in found
    assert "unknown since the start, 0 runs" in found
    assert "fail after 3 failures in a row, pass after 1 success" in found
    assert "every 10.0 s, timeout 1.0 s" in found


def test_a_verdict_names_its_culprits_and_links_to_them():
    html = shown(*(after(FAIL, name=f"c{number}", failure_threshold=1) for number in range(8)))

    assert '<span>readiness: <a href="/check/c0">c0</a>, ' in html
    assert '<a href="/check/c4">c4</a> and 3 more</span>' in html
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
        assert "Rejected at 22:01:20 UTC 12 min ago :" in words(html)
    assert "A file was not loaded. The previous one stays in use." in kept
    assert "The configuration is not loaded: /readyz returns 503 until it is valid." in degraded
    assert '<h1 class="unknown">no configuration</h1>' in degraded
    assert "<strong>503</strong>\n<span>readiness: no configuration</span>" in degraded
    assert "every endpoint returns 200" not in degraded


def test_the_page_shows_which_exporter_it_is():
    identity = Identity("web-7d9f4", ("/etc/health/<health>.yml",), NOW - 86_400)
    html = render(scene(), PROBE_PATHS, NOW, vitals=Vitals(True, reload_time=NOW - 7200, identity=identity))

    assert "· web-7d9f4 · Health Exporter</title>" in html
    assert "<b>web-7d9f4</b>: /etc/health/&lt;health&gt;.yml, 9 checks, " in html
    assert "9 checks, loaded at 20:13:20 UTC 2 h ago , started at 2023-11-13 22:13:20 UTC 1 d ago" in words(html)
    assert f"Health Exporter {__version__}, generation 4711" in html


def test_what_the_configuration_says_about_a_check_is_shown():
    texts = {"owner": "<shop>", "description": "Orders wait.", "runbook_url": "https://runbooks.example/?a=1&b=2"}
    html = shown(after(FAIL, **texts))

    assert "owner <shop>" in words(html)
    assert "meaning Orders wait. runbook" in words(html)
    assert '<a href="https://runbooks.example/?a=1&amp;b=2" rel="noreferrer">runbook</a>' in html


def test_the_page_renews_itself_and_can_be_kept_still():
    live, still = render(scene(), PROBE_PATHS, NOW), render(scene(), PROBE_PATHS, NOW, chosen=Filter(still="1"))

    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in live
    assert '<a href="/?still=1">Turn auto-refresh off</a>' in live
    assert "http-equiv" not in still
    assert "<script>" not in still
    assert '<a href="/?">Turn auto-refresh on</a>' in still
    assert '<input type="hidden" name="still" value="1">' in still


def test_the_latest_changes_come_with_their_times():
    """The latest first, without those that are after the Snapshot."""
    history = History()
    for number in range(MAX_CHANGES + 3):
        history.note_transition(
            Transition(NOW - 60 + number, number, "web", Status.PASS, Status.FAIL, Reason.CONNECT, "refused", 3, 3, 0.0)
        )
    last = MAX_CHANGES + 1
    html = render(snapshot([settled("P", name="web")], generation=last), PROBE_PATHS, NOW, past=Past(history, {}))
    listed = re.findall(r'<li><time datetime="[^"]*:(\d\d)Z">', html)

    assert listed == [f"{20 + number}" for number in range(last, last - MAX_CHANGES, -1)]
    assert f"Latest change: 22:12:{20 + last} UTC {60 - last} s ago web: pass → fail (connect): refused" in words(html)


def test_the_details_of_the_first_problems_are_open():
    html = shown(*(after(FAIL, name=f"c{number}", failure_threshold=1) for number in range(MAX_OPEN + 2)))

    assert re.findall(r'id="check-c(\d+)" class="fail"><details open', html) == [str(n) for n in range(MAX_OPEN)]


@pytest.mark.parametrize(("count", "folded"), [(MAX_UNFOLDED, False), (MAX_UNFOLDED + 1, True)])
def test_many_passing_checks_are_folded(count, folded):
    states = [after(PASS, name=f"c{number}") for number in range(count)]

    assert (f"<summary>{count} pass</summary>" in shown(*states)) is folded
    assert 'class="fold"' not in render(snapshot(states), PROBE_PATHS, NOW, chosen=Filter(q="c"))


def test_the_latest_failure_stays_visible_after_the_recovery():
    history, check = History(), spec("web", failure_threshold=1)
    failed, passed = result(FAIL, at=900.0), result(PASS, at=1000.0)
    for number, run in enumerate((failed, passed)):
        history.note_run(check, run, number)
    state = settle(settle(State(check), failed), passed)
    html = render(snapshot([state]), PROBE_PATHS, 1_001_000.0, past=Past(history, {"web": 7.0}))

    assert "14:01:39 UTC 1 min ago : fail (connect): refused" in words(html)
    assert '<span class="over"><time' in html
    assert "next run 14:03:27 UTC in 7 s" in words(html)


def test_the_filter_selects_checks_and_arranges_them():
    states = [
        after(FAIL, name="db", failure_threshold=1, owner="data"),
        after(PASS, name="api", owner="shop", groups=in_groups(Group.LIVENESS, Group.READINESS)),
        after(PASS, name="web"),
    ]
    html = render(snapshot(states), PROBE_PATHS, NOW, chosen=Filter(status="pass", by="owner"), root="/health")

    assert re.findall(r'id="check-(\w+)"', html) == ["api", "web"]
    assert "2 of 3 checks" in words(html)
    assert re.findall(r"<h2>(.*?)</h2>", html) == ["shop: 1 pass", "no owner: 1 pass"]
    assert '<input type="hidden" name="status" value="pass">' in html
    assert '<option value="owner" selected>owner</option>' in html
    assert '<a class="fail" href="/health/?status=fail&amp;by=owner">1 fail</a>' in html
    assert "1 fail of 3 checks" in Text(html).of("h1")


@pytest.mark.parametrize(
    ("files", "options"),
    [
        (("/etc/it's.yml", "conf.d"), """ --config.file '/etc/it'"'"'s.yml' --config.file conf.d"""),
        (("health.yml",), " --config.file health.yml"),
        ((BUILT_IN.source,), ""),
    ],
)
def test_a_command_runs_the_check_again(files, options):
    vitals = Vitals(True, identity=Identity("host", files))
    html = render(snapshot([after(PASS, name="web")]), PROBE_PATHS, NOW, vitals=vitals)

    assert f"run it now health-exporter check --name web{options} more" in words(html)


def test_a_clock_that_went_back_makes_no_negative_ages():
    html = render(scene(), PROBE_PATHS, NOW - 3600)

    assert "-" not in "".join(re.findall(r"<small>([^<]* ago|in [^<]*|just now)</small>", html))


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "\"'><img src=x>", "%s%(x)s%", "&lt;", "\ud800", "\0"])
def test_hostile_text_is_text(evil):
    texts = dict.fromkeys(("name", "kind", "target", "owner", "description", "runbook_url"), evil)
    state = after(Outcome.failed(Reason.BODY, evil), failure_threshold=1, **texts)
    identity = Identity(evil, (evil,), NOW)
    chosen = Filter(q=evil, owner=evil, by="owner", still="1")

    html = shown(state) + render(
        snapshot([state]),
        PROBE_PATHS,
        NOW,
        vitals=Vitals(True, complaint=evil, identity=identity),
        chosen=chosen,
    )

    assert len(re.findall(r"<(script|img)", html)) == 1  # the page's own
    assert "onerror" not in html
    html.encode()


# Colours: WCAG AA wants 4.5 for text, and 3 for what is large or no text.

STYLE = re.search(r"<style>(.*)</style>", render(scene(), PROBE_PATHS, NOW), re.DOTALL)[1]
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
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
        *((text, "card") for text in ("ink", "dim", "pass", "warn", "fail", "unknown")),
        *((text, "hover") for text in ("ink", "dim", "pass", "warn", "fail", "unknown")),
        *((text, f"{text}-tint") for text in ("pass", "warn", "fail", "unknown")),
        ("ink", "fail-tint"),
    ],
)
def test_every_text_has_contrast(scheme, text, ground):
    assert contrast(scheme[text], {**LIGHT, **scheme}[ground]) >= 4.5


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("cell", ["pass-cell", "warn-cell", "fail-cell", "unknown-cell"])
def test_every_run_is_visible(scheme, cell):
    assert contrast(scheme[cell], scheme["card"]) >= 3


def test_nothing_is_loaded_from_anywhere():
    html = render(scene(), PROBE_PATHS, NOW)

    assert not re.findall(r'(?:src|href)="(?!/|#|data:)', html)
    assert re.findall(r'href="(data:[^,"]*)', html) == ["data:image/svg+xml"]
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src 'sha256-" in CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY


# Hundreds of checks


def test_500_checks_are_small_over_the_network_and_on_the_screen():
    states, past = make_fleet(500)
    html = render(snapshot(states, timestamp=NOW), PROBE_PATHS, NOW, past=past, vitals=VITALS)
    compressed = gzip.compress(html.encode(), LEVEL)
    opened = len(re.findall(r"<details open", html))

    assert len(re.findall(r'<li id="check-', html)) == 500
    assert len(re.findall(r'class="fail"><details', html)) > 40
    assert opened == MAX_OPEN
    assert len(compressed) < 40_000
