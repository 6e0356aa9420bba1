"""The exporter as a real process, with a configuration of a ConfigMap's volume and a file."""

import json
import os
import signal

from support import Exporter, ended, eventually
from volumes import ConfigMap

RELOADED = "health_exporter_config_last_reload_successful"


def check(name: str) -> str:
    return f"checks: [{{name: {name}, exec: {{command: ['true']}}, groups: [readiness]}}]\n"


def names(exporter: Exporter) -> list[str]:
    """The names of the checks that are configured."""
    return sorted(json.loads(exporter.get("/healthz?format=json").body)["checks"])


def test_files_are_reloaded_as_one(tmp_path):
    volume = ConfigMap(tmp_path / "volume", a=check("a"), b=check("b"))
    file = tmp_path / "file.yml"
    file.write_text(check("file"))
    paths = {"HEALTH_EXPORTER_CONFIG_FILE": f"{volume.path} {file}"}
    with ended(Exporter(env=paths)) as exporter:
        eventually(lambda: names(exporter) == ["a", "b", "file"])
        shown = f"{volume.path}, {file}"
        assert shown in exporter.get("/").text
        assert json.loads(exporter.get("/-/healthy?format=json").body)["configuration"]["file"] == shown

        volume.replace(a=check("a"), c=check("c"))
        eventually(lambda: names(exporter) == ["a", "c", "file"])

        volume.replace(a="checks: [", d=check("file"))
        exporter.line("configuration not loaded; keeping the previous one.*a.yml:1: not YAML")
        exporter.line(
            "configuration not loaded; keeping the previous one.*file.yml:1: checks.0..name: the name .*d.yml:1"
        )
        assert exporter.metrics()[RELOADED] == 0
        assert names(exporter) == ["a", "c", "file"]

        worker = exporter.worker
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: exporter.worker != worker)
        eventually(lambda: names(exporter) == ["a", "c", "file"], what="the next worker has all files")

        volume.replace(a=check("e"))
        eventually(lambda: names(exporter) == ["e", "file"])
        assert exporter.metrics()[RELOADED] == 1
