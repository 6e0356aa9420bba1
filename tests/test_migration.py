"""The configurations and programs of docs/migration.md work, before and after the move."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import commands
import pytest
from support import command

from exporter.config.checks import load

PAGE = (Path(__file__).parent.parent / "docs" / "migration.md").read_text()


def blocks(language: str, name: str) -> list[str]:
    """The code blocks in this language whose first line is a comment that begins with this name."""
    return [code for code in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if code.startswith(f"# {name}")]


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    """The variables of the pod."""
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    monkeypatch.setenv("POD_IP", "127.0.0.1")


@pytest.mark.parametrize("configuration", blocks("yaml", "health.yml"))
def test_every_configuration_loads(configuration, tmp_path):
    (tmp_path / "health.yml").write_text(configuration)

    assert load(tmp_path / "health.yml").checks


@pytest.mark.parametrize("configuration", blocks("yaml", "health.yml"))
def test_no_configuration_needs_advice(configuration, tmp_path):
    (tmp_path / "health.yml").write_text(configuration)
    done = commands.run("validate", "--scrape-interval", "4", tmp_path / "health.yml")

    assert (done.returncode, done.stderr) == (0, "")
    assert "(advice)" not in done.stdout


@pytest.mark.parametrize("configuration", blocks("yaml", "blackbox.yml"))
def test_blackbox_exporter_accepts_its_configuration(configuration, tmp_path):
    (tmp_path / "blackbox.yml").write_text(configuration)
    check = [command("prometheus-blackbox-exporter"), "--config.check", f"--config.file={tmp_path / 'blackbox.yml'}"]

    assert subprocess.run(check, capture_output=True).returncode == 0


@pytest.mark.parametrize("status", ["/health", "/status/204", "/status/500", "stopped"])
def test_the_script_and_the_checks_give_the_same_exit_code(nginx, tmp_path, status):
    path = status if status.startswith("/") else "/health"
    script, configuration = blocks("python", "check.py")[0], blocks("yaml", "health.yml")[0]
    # The load of this machine must not decide the comparison.
    script = script.replace("http://localhost/health", nginx.url + path).replace("not load or load >= 0.9", "False")
    configuration = configuration.replace("path: /health, port: 80", f"path: {path}, port: {nginx.port}")
    (tmp_path / "check.py").write_text(script)
    (tmp_path / "health.yml").write_text(configuration)
    if status == "stopped":
        nginx.stop()
    before = subprocess.run([sys.executable, str(tmp_path / "check.py")])
    after = commands.run("check", "--config.file", tmp_path / "health.yml", "--name", "web")

    assert after.returncode == before.returncode == int(status != "/health")


@pytest.mark.parametrize("code", blocks("python", "app.py"))
def test_every_application_starts(code, tmp_path):
    (tmp_path / "app.py").write_text(code)

    assert list(runpy.run_path(str(tmp_path / "app.py"), run_name="app")["app"].url_map.iter_rules())


def test_every_metric_that_the_page_names_exists():
    reference = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()

    assert [name for name in re.findall(r"`(health_\w+)`", PAGE) if f"`{name}`" not in reference] == []
