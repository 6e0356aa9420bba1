"""The house keeps its rules: a kind is one file, and everything else finds it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import Exporter, ended, eventually

HOUSE = Path(__file__).parent.parent / "exporter"
KIND = '''
"""The kind `coinToss`: for this test."""

from exporter.model import Deadline, Measurement, Outcome
from exporter.probe.check import Probe
from exporter.probe.options import Ratio


class CoinToss(Probe):
    """Tosses a coin that always falls the same way."""

    measures = {"coin_heads_ratio": "Part of the tosses that showed heads."}

    heads: Ratio = 0.5
    """The part that shows heads."""
    fail_ratio: Ratio = 0.9
    """The part at and above which the coin is not fair."""

    @property
    def target(self) -> str:
        return "a coin"

    def probe(self, deadline: Deadline) -> Outcome:
        seen = Measurement("coin_heads_ratio", self.heads, None, self.fail_ratio)
        return Outcome.measured(f"{self.heads:.0%} heads", seen)
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
def grown(tmp_path: Path) -> dict[str, str]:
    """An environment in which the house has one more file in `probes/`."""
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "coin_toss.py").write_text(KIND)
    (tmp_path / "sitecustomize.py").write_text(
        f"import exporter.kinds\nexporter.kinds.__path__.append({str(tmp_path / 'kinds')!r})\n"
    )
    (tmp_path / "health.yml").write_text(CONFIG)
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def run(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exporter", *arguments], env=env, capture_output=True, text=True, timeout=30
    )


def test_a_new_kind_is_one_file(grown, tmp_path):
    """In the configuration, the schema, the report, the metrics and the page, with nothing else changed."""
    config = tmp_path / "health.yml"
    assert run(grown, "validate", str(config)).returncode == 0
    described = json.loads(run(grown, "schema").stdout)
    assert "coinToss" in described["$defs"]["Check"]["properties"]
    assert described["$defs"]["CoinToss"]["properties"]["failRatio"]["description"]

    report = run(grown, "check", "--config.file", str(config))
    assert report.returncode == 1
    assert "95% heads: fail limit 0.9 reached" in report.stdout

    with ended(Exporter(config=config, env={"PYTHONPATH": str(tmp_path)})) as exporter:
        eventually(lambda: exporter.get("/healthz/fair").status == 200)
        eventually(lambda: exporter.metrics()['health_check_runs_total{check="loaded",kind="coinToss"}'])
        metrics = exporter.metrics()
        page = exporter.get("/").text
        exposition = exporter.get("/metrics").text
    assert metrics['health_coin_heads_ratio{check="loaded",kind="coinToss"}'] == 0.95
    assert metrics['health_coin_heads_ratio_limit{check="loaded",kind="coinToss",level="fail"}'] == 0.9
    assert metrics['health_check_info{check="loaded",kind="coinToss",severity="critical",target="a coin"}'] == 1
    assert "# HELP health_coin_heads_ratio Part of the tosses that showed heads." in exposition
    assert "95% heads" in page
    assert "coin_heads_ratio" in page


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('"""Nothing."""\n', "broken.py: a kind's file defines exactly one Probe, this one defines 0"),
        ("import nonsense_that_is_not_there\n", "No module named 'nonsense_that_is_not_there'"),
    ],
)
def test_a_broken_kind_stops_the_start_and_is_named(grown, tmp_path, content, complaint):
    """A kind that silently disappears would be a check that silently disappears."""
    (tmp_path / "kinds" / "broken.py").write_text(content)
    started = run(grown, "serve", "--config.file", str(tmp_path / "health.yml"))

    assert started.returncode == 2
    assert complaint in started.stderr
    assert "broken.py" in started.stderr


def test_the_packages_are_empty_at_the_door_except_the_one_that_finds_the_kinds():
    filled = {path.parent.name for path in HOUSE.glob("*/__init__.py") if path.read_text()}

    assert filled == {"kinds"}


def test_the_broad_excepts_are_for_probes_for_plugins_and_for_the_process():
    broad = [
        path.relative_to(HOUSE).as_posix()
        for path in sorted(HOUSE.rglob("*.py"))
        for line in path.read_text().splitlines()
        if line.strip().startswith(("except BaseException", "except Exception", "except:"))
    ]

    assert broad == ["__main__.py", "evaluation/run.py", "kinds/__init__.py"]


def test_every_kind_has_its_test():
    kinds = {path.stem for path in (HOUSE / "kinds").glob("*.py")} - {"__init__"}
    tests = {path.stem.removeprefix("test_") for path in (HOUSE.parent / "tests" / "kinds").glob("test_*.py")}

    assert kinds <= tests


def test_every_room_is_in_a_row_of_the_import_rules():
    """import-linter checks only the modules that its rows name."""
    rows = (HOUSE.parent / ".importlinter").read_text().partition("layers =\n")[2].partition("\nignore_imports")[0]
    named = {name.strip().removeprefix("exporter.") for row in rows.splitlines() for name in row.split("|")}
    files = {path.stem for path in HOUSE.glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in HOUSE.glob("*/__init__.py")}

    assert named == files | folders
