"""The status page in a real Chromium: what a person sees, with and without JavaScript."""

import json
import re
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e.browser import open_browser, resize
from make import FAIL, PASS, WARN, check, in_groups
from npm import install
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from stage import Stage, served
from support import Clock, eventually, free_port

from exporter.model import Group, Identity, Measurement, Outcome, Reason, Status, Vitals

AXE = Path(__file__).parent / "axe"
CLOCK = """
    const now = Date.now;
    window.ahead = 0;
    Date.now = () => now() + window.ahead;
    Object.defineProperty(document, "hidden", {get: () => Boolean(window.away)});
"""
"""A clock that a test can put forward, and a tab that it can hide."""
POSITION = "return document.querySelector('.warn .said').getBoundingClientRect().top"
LONG = "n" * 63


@pytest.fixture(scope="module")
def browser():
    with open_browser() as driver:
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": CLOCK})
        yield driver


class Server:
    """An exporter with a check in every status, which a test can stop and start."""

    def __init__(self):
        self.stage = Stage(Clock(time.time() - 1_000_060))  # so the wall clock of the store is a minute late
        self.stage.vitals = Vitals(
            True,
            complaint="health.yml:3: checks[0].port: must be a number",
            complaint_time=1_000_900.0,
            identity=Identity("web-7d9f4", ("/etc/health.yml",), 1_000_000.0),
        )
        self.dispatch = self.stage.dispatch()
        self.port, self.requests = free_port(), []
        receive = self.dispatch.receive
        self.dispatch.receive = lambda connection, request: (
            self.requests.append(request),
            receive(connection, request),
        )
        self.url = f"http://127.0.0.1:{self.port}"
        high = Outcome.measured("90 % used", Measurement("memory_used_ratio", 0.9, 0.8, 0.95), Measurement("x" * 60, 1))
        self.stage.watch(
            check("well", groups=in_groups(Group.LIVENESS), owner="shop"),
            check(
                LONG,
                target=f"http://127.0.0.1/{'x' * 180}",
                failure_threshold=1,
                groups=in_groups(*Group),
                owner="data",
                description="Orders wait.",
                runbook_url="https://runbooks.example/n",
            ),
            check("high"),
            check("blind"),
        )
        for name, outcome in (
            ("well", FAIL),
            ("well", PASS),
            ("high", high),
            (LONG, FAIL),
            ("blind", Outcome(Status.UNKNOWN, Reason.MISSING, "no such command")),
        ):
            self.stage.clock.advance(1)
            self.stage.conclude(name, outcome)

    @contextmanager
    def running(self):
        with served(self.dispatch, port=self.port) as self.stage.url:
            yield self


@pytest.fixture(scope="module")
def server():
    made = Server()
    with made.running():
        yield made


@pytest.fixture
def page(browser, server):
    """The live page, with a window of the usual size."""
    resize(browser, 1280)
    browser.get(server.url + "/")
    return browser


def seen(browser, selector):
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


def pass_time(browser, seconds):
    browser.execute_script("window.ahead += arguments[0] * 1000", seconds)


def test_a_person_sees_what_is_wrong_and_why(page):
    assert page.title == "1 fail, 1 unknown, 1 warn of 4 checks · web-7d9f4 · Health Exporter"
    assert seen(page, "h1") == ["1 fail, 1 unknown, 1 warn of 4 checks"]
    assert seen(page, ".status") == ["fail connect", "unknown missing", "warn threshold", "pass"]
    first, _ = seen(page, "details[open] dl")
    for words in ("meaning\nOrders wait. runbook", "fail since", "fail after 1 failure,", "owner\ndata", "run it now"):
        assert words in first
    assert "memory used90 % warn 80 %, fail 95 %" in page.find_element(By.CSS_SELECTOR, ".warn dl").get_attribute(
        "textContent"
    )
    assert seen(page, ".fail .said") == ["refused"]
    assert "could not run" in seen(page, "li.unknown details")[0]
    assert re.search(r"fail \(connect\): refused", seen(page, "li.pass .over")[0])
    assert "A file was not loaded" in seen(page, ".alarm")[0]
    assert [card.split("\n")[:2] for card in seen(page, ".verdicts li")] == [
        ["/livez", "503"],
        ["/readyz", "503"],
        ["/startupz", "503"],
        ["/healthz", "503"],
    ]


@pytest.mark.parametrize("path", ["/", f"/check/{LONG}"])
def test_the_browser_has_nothing_to_complain_of(page, server, path):
    """No violation of the page's own policy, no missing resource, no error of the script."""
    page.get_log("browser")
    page.get(server.url + path)
    pass_time(page, 11)
    before = len(server.requests)
    eventually(lambda: len(server.requests) > before, what="the page asks again")

    assert page.get_log("browser") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", f"/check/{LONG}"])
def test_there_is_no_violation_of_accessibility(browser, server, path, scheme):
    resize(browser, 360 if scheme == "dark" else 1280, scheme)
    browser.get(server.url + path)
    browser.execute_script((install(AXE) / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = browser.execute_async_script("axe.run().then(arguments[0])")

    assert len(found["passes"]) > 20
    violations = [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found["violations"]]
    assert not violations, json.dumps(violations, indent=1)


@pytest.mark.parametrize("path", ["/", f"/check/{LONG}"])
@pytest.mark.parametrize("width", [1920, 1280, 800, 360, 320])
def test_nothing_is_wider_than_the_window(browser, server, path, width):
    resize(browser, width)
    browser.get(server.url + path)
    browser.execute_script("for (const details of document.querySelectorAll('details')) details.open = true")

    layout = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})
    assert layout["cssContentSize"]["width"] <= layout["cssLayoutViewport"]["clientWidth"] <= width
    outside = browser.execute_script(
        "return [...document.querySelectorAll('h1, li, td, .status, dd, .name, .said, .strip, a, input, code')].filter("
        "element => element.getBoundingClientRect().right > arguments[0] || element.getBoundingClientRect().left < 0)"
        ".map(element => element.outerHTML)",
        width,
    )
    assert outside == []


def test_everything_is_reached_by_the_keyboard_and_shows_it(page):
    controls = [e for e in page.find_elements(By.CSS_SELECTOR, "a, summary, input, select, button") if e.is_displayed()]

    for control in controls:
        page.switch_to.active_element.send_keys(Keys.TAB)
        focused = page.switch_to.active_element
        assert focused == control
        assert focused.value_of_css_property("outline-width") == "3px"


def test_links_lead_to_answers(page, server):
    targets = {link.get_attribute("href") for link in page.find_elements(By.TAG_NAME, "a")}

    for target in targets - {"https://runbooks.example/n"}:
        path = target.removeprefix(server.url)
        assert path.startswith("/")
        assert server.stage.get(path).status in (200, 503)


def test_the_command_has_the_address_of_the_exporter(page, server):
    page.get(f"{server.url}/check/high")

    assert f"curl -s {server.url}/healthz/high" in seen(page, "code")


def test_the_form_filters(page):
    page.find_element(By.NAME, "q").send_keys("ell", Keys.ENTER)
    eventually(lambda: "q=ell" in page.current_url)

    assert seen(page, ".name b") == ["well"]
    page.find_element(By.CSS_SELECTOR, "nav a.fail").click()
    eventually(lambda: "status=fail" in page.current_url)
    assert "0 of 4 checks" in seen(page, "main > p")


def test_without_scripts_the_page_loads_itself_again(browser, server):
    resize(browser, 1280)
    browser.get(f"http://localhost:{server.port}/")
    before = len(server.requests)

    assert browser.find_element(By.CSS_SELECTOR, "#live noscript").rect["width"] > 0
    assert seen(browser, "h1") == ["1 fail, 1 unknown, 1 warn of 4 checks"]
    eventually(lambda: len(server.requests) > before)


def test_an_update_keeps_what_a_person_does(page, server):
    """The selection, the focus, the position on the screen, the fragment, and what is opened and closed."""
    resize(page, 400)
    page.get(f"{server.url}/#check-high")
    page.execute_script("""
        document.querySelector(".fail summary").click();
        document.querySelector(".pass summary").click();
        document.querySelector("[name=q]").value = "half a wo";
        document.querySelector(".warn summary").focus();
        document.querySelector(".warn").scrollIntoView({block: "center"});
        getSelection().selectAllChildren(document.querySelector(".warn .said"));
    """)
    position = page.execute_script(POSITION)
    server.stage.clock.advance(1)
    server.stage.conclude("blind", PASS)
    pass_time(page, 11)
    eventually(lambda: seen(page, "h1") == ["1 fail, 1 warn of 4 checks"], what="the page is up to date")
    opened = {
        e.get_attribute("id"): e.find_element(By.TAG_NAME, "details").get_attribute("open")
        for e in page.find_elements(By.CSS_SELECTOR, ".checks > li")
    }

    assert page.execute_script("return getSelection().toString()") == seen(page, ".warn .said")[0]
    assert page.execute_script(POSITION) == pytest.approx(position, abs=2)
    assert page.current_url.endswith("/#check-high")
    assert page.execute_script("return document.activeElement.closest('li').id") == "check-high"
    assert page.find_element(By.NAME, "q").get_attribute("value") == "half a wo"
    assert opened == {f"check-{LONG}": None, "check-high": None, "check-blind": None, "check-well": "true"}
    assert page.title.startswith("1 fail, 1 warn of 4 checks")


def test_a_check_that_fails_moves_up_and_opens(page, server):
    server.stage.clock.advance(1)
    for _ in range(3):
        server.stage.conclude("well", FAIL)
    pass_time(page, 11)
    eventually(lambda: seen(page, "h1")[0].startswith("2 fail"))

    assert page.find_element(By.CSS_SELECTOR, "#section-fail #check-well details").get_attribute("open")
    server.stage.conclude("well", PASS)
    pass_time(page, 11)
    eventually(lambda: seen(page, "h1")[0].startswith("1 fail"))
    assert not page.find_element(By.CSS_SELECTOR, "#section-pass #check-well details").get_attribute("open")


def test_a_hidden_tab_does_not_ask(page, server):
    page.execute_script("window.away = true")
    pass_time(page, 60)
    page.execute_async_script("setTimeout(arguments[0], 1500)")  # of a clock that ticks each second
    before = len(server.requests)
    page.execute_script("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")

    eventually(lambda: len(server.requests) > before)
    assert [request.path for request in server.requests[before - 1 :]] == ["/", "/"]
    assert seen(page, "#live") == ["updates every 10 s"]


def test_the_page_survives_an_exporter_that_is_away(browser):
    server = Server()
    with server.running():
        resize(browser, 1280)
        browser.get(server.url + "/")
    pass_time(browser, 40)
    eventually(lambda: re.fullmatch(r"no response for 4\d s", seen(browser, "#live")[0]))
    assert browser.title.startswith("no response: 1 fail")
    assert "4 checks" in seen(browser, "h1")[0]

    server.stage.clock.advance(1)
    server.stage.conclude("blind", WARN)
    with server.running():
        pass_time(browser, 11)
        eventually(lambda: seen(browser, "h1") == ["1 fail, 2 warn of 4 checks"], what="the page is up to date again")
        assert seen(browser, "#live") == ["updates every 10 s"]
        assert browser.title.startswith("1 fail, 2 warn")


def test_a_check_that_is_gone_is_an_error(browser):
    server = Server()
    with server.running():
        resize(browser, 1280)
        browser.get(server.url + "/check/high")
        server.stage.watch(check("well"))
        pass_time(browser, 11)
        eventually(lambda: re.fullmatch(r"error 404 for \d+ s", seen(browser, "#live")[0]))
        assert browser.title.startswith("error 404: high: ")

        server.stage.watch(check("high"))
        pass_time(browser, 11)
        eventually(lambda: browser.title.startswith("high: "), what="the page is up to date again")
