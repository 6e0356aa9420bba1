"""The SBOM of `make sbom` lists exactly the packages of the image."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import unavailable

from exporter import __version__

ROOT = Path(__file__).parents[2]
TOOLS = Path(f"{sys.prefix}-tools")
BUILD_ONLY = {"flit-core"}  # builds the wheel, and is not installed


@pytest.fixture(scope="module")
def sbom(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not (TOOLS / "bin" / "cyclonedx-py").exists():
        unavailable("cyclonedx-py is not installed (make tools)")
    folder = tmp_path_factory.mktemp("sbom")
    path = folder / "out" / "sbom.json"
    stamps = (TOOLS / "stamp", folder / "venv" / "test.stamp", folder / "venv" / "run.stamp")
    ready = [f"--assume-old={name}" for name in stamps]
    variables = [f"VENV={folder / 'venv'}", f"BIN={Path(sys.executable).parent}", f"TOOLS={TOOLS}", f"SBOM={path}"]
    arguments = ["make", *ready, "sbom", *variables, f"PYTHON={sys.executable}"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_it_lists_every_package_with_its_version(sbom):
    pins = re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    listed = {normalize(component["name"]): component["version"] for component in sbom["components"]}

    assert listed == {name: version for name, version in pins if name not in BUILD_ONLY}


def test_every_package_has_an_identity_and_a_license(sbom):
    assert [part["name"] for part in sbom["components"] if not (part.get("purl") and part.get("licenses"))] == []


def test_it_names_the_exporter_and_its_dependencies(sbom):
    (ours,) = (node for node in sbom["dependencies"] if node["ref"] == sbom["metadata"]["component"]["bom-ref"])

    assert sbom["metadata"]["component"]["name"] == "health-exporter"
    assert sbom["metadata"]["component"]["version"] == __version__
    assert "Flask" in " ".join(ours["dependsOn"])


def test_it_names_no_path_of_the_machine_that_wrote_it(sbom):
    assert str(ROOT) not in json.dumps(sbom)
    assert "file:" not in json.dumps(sbom)
