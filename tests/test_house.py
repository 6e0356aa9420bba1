"""Rules of the source tree: a new kind is one file, and everything else finds it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import Exporter, ended, eventually

HOUSE = Path(__file__).parent.parent / "exporter"
REFERENCE = HOUSE.parent / "docs" / "reference.py"
KIND = '''
"""The kind `coinToss`, which only this test has."""

from exporter.model import Deadline, Measurement, Outcome
from exporter.probe.check import Probe
from exporter.probe.options import Ratio


class CoinToss(Probe):
    """Tosses a coin and checks that it is fair.

    It always falls the same way.
    """

    measures = {"coin_heads_ratio": "Share of tosses that showed heads in the latest run."}
    examples = ("- name: fair\\n  coinToss: {heads: 0.5}",)

    heads: Ratio = 0.5
    """Share of tosses that show heads."""
    fail_ratio: Ratio = 0.9
    """Fails when the share of heads reaches this value."""

    @property
    def target(self) -> str:
        return "a coin"

    def probe(self, deadline: Deadline) -> Outcome:
        ratio = Measurement("coin_heads_ratio", self.heads, None, self.fail_ratio)
        return Outcome.measured(f"{self.heads * 100:.0f} % heads", ratio)
'''
CONFIG = """
checks:
  - name: fair
    coinToss: {}
    periodSeconds: 1
  - name: loaded
    coinToss: {heads: 0.95}
    periodSeconds: 1
    failureThreshold: 1
"""


@pytest.fixture
def extended(tmp_path: Path) -> dict[str, str]:
    """Environment variables with which `exporter/kinds/` has one more file."""
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "coin_toss.py").write_text(KIND)
    (tmp_path / "sitecustomize.py").write_text(
        f"import exporter.kinds\nexporter.kinds.__path__.append({str(tmp_path / 'kinds')!r})\n"
    )
    (tmp_path / "health.yml").write_text(CONFIG)
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}


def run(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **env}, capture_output=True, text=True, timeout=60
    )


def test_a_new_kind_is_one_file(extended, tmp_path):
    """It is in the configuration, the schema, the report, the metrics and the page, with nothing else changed."""
    config = tmp_path / "health.yml"
    assert run(extended, "-m", "exporter", "validate", str(config)).returncode == 0
    described = json.loads(run(extended, "-m", "exporter", "schema").stdout)
    assert "coinToss" in described["$defs"]["Check"]["properties"]
    assert described["$defs"]["CoinToss"]["properties"]["failRatio"]["description"]

    report = run(extended, "-m", "exporter", "check", "--config.file", str(config))
    assert report.returncode == 1
    assert "95 % heads: fail limit 90 % reached" in report.stdout

    with ended(Exporter(config=config, env=extended)) as exporter:
        eventually(lambda: exporter.get("/healthz/fair").status == 200)
        eventually(lambda: exporter.metrics()['health_check_runs_total{check="loaded",kind="coinToss"}'])
        metrics = exporter.metrics()
        page = exporter.get("/").text
        exposition = exporter.get("/metrics").text
    assert metrics['health_coin_heads_ratio{check="loaded",kind="coinToss"}'] == 0.95
    assert metrics['health_coin_heads_ratio_limit{check="loaded",kind="coinToss",level="fail"}'] == 0.9
    assert metrics['health_check_info{check="loaded",kind="coinToss",severity="critical",target="a coin"}'] == 1
    assert "# HELP health_coin_heads_ratio Share of tosses that showed heads in the latest run." in exposition
    assert "95 % heads" in page
    assert "coin heads" in page


def test_a_new_kind_is_in_the_generated_reference(extended, tmp_path):
    """In the table of kinds, with its own section of options and metrics, with nothing else changed."""
    (tmp_path / "docs").mkdir()
    shutil.copy(REFERENCE, tmp_path / "docs")
    generated = run(extended, str(tmp_path / "docs" / REFERENCE.name))
    assert generated.returncode == 0, generated.stderr
    kinds = (tmp_path / "docs" / "kinds.md").read_text()
    table, section = kinds.partition("\n## ")[0], kinds.partition("\n## coinToss\n")[2].partition("\n## ")[0]
    metrics = (tmp_path / "docs" / "metrics.md").read_text()
    row = next(line for line in metrics.splitlines() if line.startswith("| `health_coin_heads_ratio` |"))

    assert "| [`coinToss`](#cointoss) | Tosses a coin and checks that it is fair |  |" in table.splitlines()
    assert "It always falls the same way." in section
    assert "| `heads` | number | `0.5` | Share of tosses that show heads. |" in section
    assert "| `health_coin_heads_ratio` | Share of tosses that showed heads in the latest run. |" in section
    assert "coinToss: {heads: 0.5}" in section
    assert row.endswith("| gauge | `check`, `kind` | Share of tosses that showed heads in the latest run. |")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('"""Nothing."""\n', "broken.py: a kind's file defines exactly one Probe, this one defines 0"),
        ("import missing_module\n", "No module named 'missing_module'"),
    ],
)
def test_a_broken_kind_stops_the_start_and_is_named(extended, tmp_path, content, complaint):
    """If the kind silently disappeared, so would its checks."""
    (tmp_path / "kinds" / "broken.py").write_text(content)
    config = tmp_path / "health.yml"
    config.write_text(f"{CONFIG}  - {{name: lost, broken: {{}}}}\n")
    listen = ("--web.listen-address", "127.0.0.1:0")
    started = run(extended, "-m", "exporter", "serve", "--config.strict", *listen, "--config.file", str(config))

    assert started.returncode == 2
    assert complaint in started.stderr
    assert "broken.py" in started.stderr


def test_only_the_package_that_finds_the_kinds_has_code_in_its_init():
    filled = {path.parent.name for path in HOUSE.glob("*/__init__.py") if path.read_text()}

    assert filled == {"kinds"}


def test_broad_excepts_are_only_around_probes_plugins_and_the_process():
    broad = [
        path.relative_to(HOUSE).as_posix()
        for path in sorted(HOUSE.rglob("*.py"))
        for line in path.read_text().splitlines()
        if line.strip().startswith(("except BaseException", "except Exception", "except:"))
    ]

    assert sorted(set(broad)) == [
        *("__main__.py", "config/document.py", "evaluation/run.py", "evaluation/schedule.py", "host/path_threads.py"),
        *("keeper/run.py", "kinds/__init__.py", "server/dispatch.py", "server/poller.py", "server/reload.py"),
    ]


def test_every_kind_has_a_test_file():
    kinds = {path.stem for path in (HOUSE / "kinds").glob("*.py")} - {"__init__"}
    tests = {path.stem.removeprefix("test_") for path in (HOUSE.parent / "tests" / "kinds").glob("test_*.py")}

    assert kinds <= tests


def test_every_folder_is_in_a_row_of_the_import_rules():
    """import-linter checks only the modules that are named in its rows."""
    rows = (HOUSE.parent / ".importlinter").read_text().partition("layers =\n")[2].partition("\nignore_imports")[0]
    named = {name.strip().removeprefix("exporter.") for row in rows.splitlines() for name in row.split("|")}
    files = {path.stem for path in HOUSE.glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in HOUSE.glob("*/__init__.py")}

    assert named == files | folders
