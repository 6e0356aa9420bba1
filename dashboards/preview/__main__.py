"""`make dashboards-preview`: pictures of the dashboards, rendered by Grafana's own components from real data.

Real exporters check a scene of a few minutes, and a real Prometheus records it. Headless Chromium then renders the
results of the dashboards' queries into pictures in dashboards/preview/out: the first screen of each dashboard on a wall
display and on a laptop, and the whole dashboard with every section open.

python -m dashboards.preview [--seconds N] [--again] [--overview FILE] [NAME...]
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from urllib.parse import urlencode

import yaml
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from dashboards.preview.scene import WORKLOADS, Shop
from tests.support import Exporter, Process, command, ended, eventually, free_port, get

_HERE = Path(__file__).parent
_OUT = _HERE / "out"
_RECORD = _OUT / "record"
_SCREENS = {"wall": (1920, 1080), "laptop": (1366, 768), "all": (1920, None)}  # without a height: everything
_SELECTED = {"check": {"var-namespace": "shop", "var-job": "web", "var-check": "search"}}  # what the picture shows
_PROMETHEUS = """\
global: {{scrape_interval: 5s}}
rule_files: {rules}
scrape_configs:
  - job_name: scene
    static_configs: {targets}
"""
_CHROMIUM = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --lang=en-US"
)


@contextmanager
def _prometheus(folder: Path, targets: list[dict[str, object]], rules: list[str]) -> Iterator[str]:
    """Run Prometheus with the recorded data and the given targets; yields its URL without a trailing slash."""
    (folder / "prometheus.yml").write_text(_PROMETHEUS.format(rules=json.dumps(rules), targets=json.dumps(targets)))
    url = f"http://127.0.0.1:{free_port()}"
    flags = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={_RECORD}/data", "--log.level=warn"]
    with ended(Process([command("prometheus"), *flags, f"--web.listen-address={url.removeprefix('http://')}"])):
        eventually(lambda: _responds(f"{url}/-/ready"), within=60, what="Prometheus is ready")
        yield url


def _responds(url: str) -> bool:
    try:
        return get(url).status == 200
    except OSError:
        return False


def _fast_rules(folder: Path) -> list[str]:
    """The shipped rules, but evaluated at each scrape, and without a delay: the scene is short."""
    files = []
    for file in sorted(Path("alerts").glob("*.rules.yml")):
        rules = yaml.safe_load(file.read_text())
        for group in rules["groups"]:
            group["interval"] = "5s"
            for rule in group["rules"]:
                rule.pop("for", None)
        (folder / file.name).write_text(yaml.safe_dump(rules))
        files.append(str(folder / file.name))
    return files


def _target(namespace: str, job: str, number: int, address: str) -> dict[str, object]:
    labels = {
        "namespace": namespace,
        "job": job,
        "pod": f"{job}-{number}",
        "instance": f"10.0.{len(job)}.{number}:4584",
    }
    return {"targets": [address], "labels": labels}


def _record(seconds: float, folder: Path) -> None:
    """Run the scene, checked by the exporters of several workloads, and probed as by a kubelet."""
    with ExitStack() as stack:
        exporters, targets = [], [_target("infra", "node", 99, f"127.0.0.1:{free_port()}")]  # one does not respond
        for number, (namespace, job, replicas, checks, fails) in enumerate(WORKLOADS):
            home = folder / str(number)
            home.mkdir()
            path = {"PATH": f"{home}:{os.environ['PATH']}"}
            config = Shop(seconds, checks, fails).configure(home)
            exporters.append(stack.enter_context(ended(Exporter(config=config, env=path))))
            address = exporters[-1].url.removeprefix("http://")
            targets += [_target(namespace, job, 100 * number + replica, address) for replica in range(replicas)]
        stack.enter_context(_prometheus(folder, targets, _fast_rules(folder)))
        begin = time.time()
        while time.time() < begin + seconds:
            for exporter in exporters:
                exporter.get("/livez")
                exporter.get("/readyz")
            time.sleep(1)
        (_RECORD / "scene.json").write_text(json.dumps({"from": begin + 1, "to": time.time() - 1}))


@contextmanager
def _served() -> Iterator[str]:
    """Serve this folder and the dashboards over HTTP, for the browser."""
    port = str(free_port())
    server = [sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1", "--directory", str(_HERE.parent)]
    url = f"http://127.0.0.1:{port}"
    with ended(Process(server)):
        eventually(lambda: _responds(f"{url}/"), what="the browser's files are available")
        yield url


@contextmanager
def _browser(profile: str) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for flag in [*_CHROMIUM.split(), f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.binary_location = command("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(command("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


def _draw(names: list[str], prometheus: str, scene: dict[str, float], overview: Path | None) -> list[str]:
    """Render pictures of each dashboard, and return the warnings and errors of the browser."""
    messages = []
    with tempfile.TemporaryDirectory() as profile, _served() as site, _browser(profile) as browser:
        for name, (screen, (width, height)) in product(names, _SCREENS.items()):
            _resize(browser, width, height or 6000)
            parameters = {"dashboard": name, "prometheus": prometheus, **scene, **_SELECTED.get(name, {})}
            if not height:
                parameters["open"] = "yes"
            browser.get(f"{site}/preview/index.html?{urlencode(parameters)}")
            total = WebDriverWait(browser, 120).until(_height)
            _save(browser, width, height or total, _OUT / f"{name}-{screen}.png")
            if overview and (name, screen) == ("overview", "wall"):
                _save(browser, width, height or total, overview, scale=0.75)
            lines = [line for line in browser.get_log("browser") if line["level"] in {"WARNING", "SEVERE"}]
            messages += [f"{name}, {screen}: {line['message']}" for line in lines]
    return messages


def _resize(browser: webdriver.Chrome, width: int, height: int) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def _height(browser: webdriver.Chrome) -> int:
    """The height of the page, which the page sets when everything is drawn; 0 until then."""
    return int(browser.find_element("id", "page").get_attribute("data-height") or 0)


def _save(browser: webdriver.Chrome, width: int, height: int, picture: Path, scale: float = 1) -> None:
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": scale}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip})
    picture.write_bytes(base64.b64decode(shot["data"]))
    sys.stdout.write(f"{picture}: {picture.stat().st_size // 1024} KiB\n")


def main() -> None:
    """Record the scene and draw the dashboards."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.preview", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="duration of the scene (default 600)")
    parser.add_argument("--again", action="store_true", help="draw the last recorded scene again")
    parser.add_argument(
        "--overview", type=Path, help="file for the first screen of the overview, for the documentation"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these dashboards")
    arguments = parser.parse_args()
    names = arguments.names or sorted(file.stem for file in _HERE.parent.glob("*.json"))
    _RECORD.mkdir(parents=True, exist_ok=True)
    subprocess.run([command("npm"), "run", "--silent", "build"], cwd=_HERE, check=True)
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.again:
            shutil.rmtree(_RECORD)
            _RECORD.mkdir()
            _record(arguments.seconds, Path(folder))
        scene = json.loads((_RECORD / "scene.json").read_text())
        with _prometheus(Path(folder), [], []) as url:
            messages = _draw(names, url, scene, arguments.overview)
    sys.exit("\n".join(messages) or None)


if __name__ == "__main__":
    main()
