"""A real Chromium for tests."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from selenium import webdriver
from support import command

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@contextmanager
def open_browser() -> Iterator[webdriver.Chrome]:
    """Chromium in its usual configuration, except that pages of `localhost` may not run scripts."""
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = command("chromium")
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        blocked = {"profile.content_settings.exceptions.javascript": {"http://localhost:*,*": {"setting": 2}}}
        options.add_experimental_option("prefs", blocked)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, webdriver.ChromeService(command("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def resize(browser: webdriver.Chrome, width: int, scheme: str = "light", height: int = 900) -> None:
    """Set the size of the window, and the color scheme that the person prefers."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
