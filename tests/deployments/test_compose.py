"""docs/compose: the exporter beside an application of Compose."""

import re
import subprocess
import sys
from pathlib import Path

import yaml
from support import command, eventually

FOLDER = Path(__file__).parents[2] / "docs" / "compose"
SERVICES = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
HEALTH = SERVICES["health"]


def ask(exporter):
    """Run the command of the healthcheck, for an exporter on another port."""
    program, *arguments = HEALTH["healthcheck"]["test"][1:]
    assert program == "health-exporter"
    done = subprocess.run([sys.executable, "-m", "exporter", *arguments, "--url", exporter.url], capture_output=True)
    return done.returncode


def test_the_healthcheck_follows_the_application(start, nginx):
    configuration = (FOLDER / "health" / "health.yml").read_text()
    assert "port: 80}" in configuration
    exporter = start(
        configuration.replace("port: 80}", f"port: {nginx.port}}}").replace("periodSeconds: 5", "periodSeconds: 1")
    )

    eventually(lambda: ask(exporter) == 0, what="the application is ready")
    nginx.stop()
    eventually(lambda: ask(exporter) == 1, what="the application is not ready")


def test_the_files_of_the_command_are_mounted():
    path = Path(re.search("--config.file=(.*)", HEALTH["command"][1])[1])
    source, target, _ = HEALTH["volumes"][0].split(":")

    assert (FOLDER / source / path.relative_to(target)).is_file()


def test_compose_accepts_the_file():
    done = subprocess.run([command("compose-go"), str(FOLDER / "compose.yaml")], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_image_and_the_port_are_those_of_the_project():
    root = FOLDER.parents[1]
    version = re.search(r'__version__ = "(.*)"', (root / "exporter" / "__init__.py").read_text())[1]

    assert HEALTH["image"] == f"health-exporter:{version}"
    assert (FOLDER / HEALTH["build"] / "Dockerfile").is_file()
    assert "127.0.0.1:4584:4584" in SERVICES["shop"]["ports"]
