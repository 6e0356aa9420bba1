"""Kinds from other packages: the example package, installed with pip, and broken ones."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder in which pip has installed the example package."""
    site, source = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(PACKAGE, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", site, source], check=True, timeout=120)
    return site


def run(site: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "exporter", *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("pips", "code", "status"), [("6", 0, "pass"), ("1", 1, "fail"), ("many", 1, "unknown")])
def test_the_example_package_adds_its_kind(site, tmp_path, pips, code, status):
    (tmp_path / "dice").write_text(pips)
    config = tmp_path / "health.yml"
    config.write_text(f"checks: [{{name: lucky, dice: {{file: {tmp_path / 'dice'}}}}}]")
    done = run(site, "check", "--config.file", config, "--format", "json")
    (check,) = json.loads(done.stdout)["checks"]

    assert (done.returncode, check["kind"], check["status"]) == (code, "dice", status)
    if pips != "many":
        assert check["measurements"] == {"dice_pips": int(pips)}


def test_the_options_of_a_plugin_are_in_the_schema_and_are_validated(site, tmp_path):
    assert "failPips" in json.loads(run(site, "schema").stdout)["$defs"]["Dice"]["properties"]
    config = tmp_path / "health.yml"
    config.write_text("checks:\n  - name: lucky\n    dice: {file: /x, failPips: 7}\n")
    done = run(site, "validate", config)

    assert done.returncode == 2
    assert f"{config}:3: checks[0].dice.failPips: must be" in done.stderr


MISSING = (
    "import nothing_there\n",
    "broken = broken_kind:Kind",
    "the kind broken of broken-kind 2.0 cannot be loaded: Module",
)


@pytest.mark.parametrize(
    ("command", "module", "entry", "complaint"),
    [
        (["serve", "--config.strict"], *MISSING),
        (["check"], *MISSING),
        (["schema"], *MISSING),
        (
            ["schema"],
            "1 / 0\n",
            "broken = broken_kind:Kind",
            "the kind broken of broken-kind 2.0 cannot be loaded: ZeroDivisionError",
        ),
        (["schema"], "Kind = 5\n", "broken = broken_kind:Kind", "the kind broken of broken-kind 2.0 is not a Probe"),
        (["schema"], "Kind = 5\n", "httpGet = broken_kind:Kind", "broken_kind:Kind: the kind httpGet already exists"),
        (["schema"], "Kind = 5\n", "function = broken_kind:Kind", "broken_kind:Kind: the kind function already exists"),
    ],
)
def test_a_broken_plugin_stops_the_start_and_is_named(tmp_path, command, module, entry, complaint):
    (tmp_path / "broken_kind.py").write_text(module)
    described = tmp_path / "broken_kind-2.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-kind\nVersion: 2.0\n")
    (described / "entry_points.txt").write_text(f"[health_exporter.probes]\n{entry}\n")
    done = run(tmp_path, *command)

    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


LISTEN = ("--web.listen-address", "127.0.0.1:0")
FRAGILE = """
from exporter import Options, Outcome, Probe
from pydantic import field_validator

class Fragile(Probe):
    \"\"\"Breaks. \"\"\"
    measures = {}
    examples = ()
    when: str = ""

    @field_validator("when")
    @classmethod
    def validate(cls, value):
        if value == "read":
            raise KeyError("hunter2")
        return value

    @property
    def target(self):
        if self.when == "built":
            raise ZeroDivisionError("hunter2")
        return "x"

    def probe(self, deadline):
        return Outcome.passed("x")
"""


READ, BUILT = ("read", "KeyError (fragile.py:15)"), ("built", "ZeroDivisionError (fragile.py:21)")


@pytest.mark.parametrize(
    ("command", "when", "complaint"),
    [
        (["serve", *LISTEN, "--config.strict", "--config.file"], *READ),
        (["check", "--config.file"], *READ),
        (["validate"], *READ),
        (["validate"], *BUILT),
    ],
)
def test_an_exception_in_a_plugin_while_the_file_is_loaded_is_a_complaint(tmp_path, command, when, complaint):
    """With file and line of both, and without the exception's text, which may contain a secret."""
    (tmp_path / "fragile.py").write_text(FRAGILE)
    described = tmp_path / "fragile-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[health_exporter.probes]\nfragile = fragile:Fragile\n")
    config = tmp_path / "health.yml"
    config.write_text(f"checks:\n  - {{name: a, fragile: {{}}}}\n  - name: b\n    fragile: {{when: {when}}}\n")
    done = run(tmp_path, *command, config)

    assert done.returncode == 2
    assert done.stderr == f"{config}:3: checks[1]: the code of a kind failed: {complaint}\n"
