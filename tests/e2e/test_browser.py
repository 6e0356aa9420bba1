"""The status page in a real Chromium without JavaScript: what a person sees of a running exporter."""

import re
import tempfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from textwrap import dedent
from threading import Thread

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support import Exporter, command, ended, eventually

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CONFIG = """
    checks:
      - name: well
        exec: {{command: ["true"]}}
        periodSeconds: 1
        groups: [liveness]
      - name: {name}
        httpGet: {{path: /{long}, port: {port}}}
        periodSeconds: 1
        failureThreshold: 1
        groups: [liveness, readiness]
      - name: high
        loadAverage: {{warnRatio: 0.0000001, failRatio: 1000000}}
        periodSeconds: 1
        groups: []
      - name: blind
        exec: {{command: [/not/there]}}
        periodSeconds: 1
"""


class Broken(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500, "broken")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def browser():
    """Chromium in its usual configuration, except that no page may run scripts."""
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = command("chromium")
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, webdriver.ChromeService(command("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


@contextmanager
def broken_server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def exporter(tmp_path_factory):
    """An exporter with a check in every status, and with names of the maximum length."""
    config = tmp_path_factory.mktemp("browser") / "health.yml"
    with broken_server() as port:
        config.write_text(dedent(CONFIG.format(port=port, name="n" * 63, long="x" * 180)))
        with ended(Exporter(config=config)) as exporter:
            eventually(lambda: len(re.findall("1 fail, 1 unknown, 1 warn|could not run", exporter.get("/").text)) > 2)
            yield exporter


def seen(browser, selector):
    return [each.text for each in browser.find_elements(By.CSS_SELECTOR, selector)]


def test_a_person_sees_what_is_wrong_and_why(browser, exporter):
    browser.get(exporter.url + "/?still")

    assert browser.title.startswith("1 fail, 1 unknown, 1 warn of 4 checks")
    assert seen(browser, "h1") == ["1 fail, 1 unknown, 1 warn of 4 checks"]
    assert [row.split("\n")[0] for row in seen(browser, "tbody td:first-child")] == ["fail", "unknown", "warn", "pass"]
    first = browser.find_element(By.CSS_SELECTOR, "tbody tr").text
    for words in ("status", "500", "endpoint_latency_seconds", " ms", "ago", "liveness, readiness"):
        assert words in first
    assert "warn 0.0 %, fail 100000000.0 %" in seen(browser, "tr.warn")[0]
    assert "could not run" in seen(browser, "tr.unknown")[0]
    assert [card.split("\n")[:2] for card in seen(browser, ".verdicts li")] == [
        ["/livez", "503"],
        ["/readyz", "503"],
        ["/startupz", "200 ok"],
        ["/healthz", "503"],
    ]


def test_the_browser_has_nothing_to_complain_of(browser, exporter):
    """No violation of the page's own policy, no missing resource, no other error."""
    browser.get_log("browser")
    browser.get(exporter.url + "/?still")

    assert browser.get_log("browser") == []


def test_the_page_needs_no_scripts(browser, exporter):
    """The setting works: a page's script does not run."""
    browser.get("data:text/html,<title>before</title><script>document.title='after'</script>")
    assert browser.title == "before"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 800, 400, 320])
def test_nothing_is_wider_than_the_window(browser, exporter, width, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(exporter.url + "/?still")

    layout = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})
    assert layout["cssContentSize"]["width"] <= layout["cssLayoutViewport"]["clientWidth"] <= width
    for each in browser.find_elements(By.CSS_SELECTOR, "h1, li, td, tbody th, caption, .status, dd, footer a"):
        assert each.rect["x"] >= 0
        assert each.rect["x"] + each.rect["width"] <= width
    ground = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    assert ground == {"light": "rgba(255, 255, 255, 1)", "dark": "rgba(20, 23, 27, 1)"}[scheme]


def test_every_link_is_reached_by_the_keyboard_and_shows_it(browser, exporter):
    browser.get(exporter.url + "/?still")
    links = browser.find_elements(By.TAG_NAME, "a")

    for link in links:
        browser.switch_to.active_element.send_keys(Keys.TAB)
        focused = browser.switch_to.active_element
        assert focused == link
        assert focused.value_of_css_property("outline-style") == "solid"
        assert focused.value_of_css_property("outline-width") == "3px"


def test_links_lead_to_answers(browser, exporter):
    browser.get(exporter.url + "/")
    targets = {link.get_attribute("href") for link in browser.find_elements(By.TAG_NAME, "a")}

    for target in targets:
        path = target.removeprefix(exporter.url)
        assert path.startswith("/")
        assert exporter.get(path.partition("#")[0]).status in (200, 503)
