"""The documentation says what the code does."""

import re
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest
from support import command

from exporter import __version__
from exporter.config.checks import load
from exporter.kinds import kinds

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The reference pages as the code would write them now."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "reference.py").write_text((ROOT / "docs" / "reference.py").read_text())
    subprocess.run([sys.executable, folder / "reference.py"], check=True, capture_output=True, cwd=ROOT)
    return {path.name: path.read_text() for path in folder.glob("*.md")}


@pytest.mark.parametrize("name", ["kinds.md", "configuration.md", "metrics.md"])
def test_the_reference_is_in_step_with_the_code(pages, name):
    assert (ROOT / "docs" / name).read_text() == pages[name], "run `make docs`"


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_has_examples_that_load(kind, tmp_path):
    examples = kinds()[kind].examples
    assert examples, f"{kind} has no example"
    for number, example in enumerate(examples):
        config = tmp_path / f"{number}.yml"
        config.write_text(f"checks:\n{indent(example, '  ')}\n")
        (check,) = load(config).checks
        assert check.spec.kind == kind


def test_every_family_is_in_the_readme(pages):
    families = set(re.findall(r"^\| `(health_[a-z0-9_]+)`", pages["metrics.md"], re.MULTILINE))

    assert {family for family in families if f"`{family}`" not in README} == set()


def test_the_readme_names_no_family_that_is_not_there(pages):
    named = set(re.findall(r"`(health_[a-z0-9_]+)`", README))

    assert named - set(re.findall(r"`(health_[a-z0-9_]+)`", pages["metrics.md"])) == set()


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_is_in_the_readme(kind):
    assert f"| `{kind}` |" in README


def test_the_readme_builds_the_image_that_the_manifests_name():
    assert set(re.findall(r"health-exporter:(\d\S*)", README)) == {__version__}


def test_the_readme_s_configuration_loads(tmp_path):
    config = tmp_path / "health.yml"
    config.write_text(re.search(r"```yaml\n(# health.yml\n.*?)```", README, re.DOTALL)[1])

    assert [check.spec.name for check in load(config).checks] == ["api", "database", "warm", "load"]


PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "alerts/README.md", "dashboards/README.md", "k8s/README.md"]


@pytest.mark.parametrize("page", [*PAGES, "docs/plugins.md", "docs/library.md", "docs/migration.md"])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target


def test_promtool_finds_nothing_to_say_of_any_family():
    """Of all kinds with all their measurements: names, units, help texts."""
    folder = str(ROOT / "docs")
    script = (
        f"import sys; sys.path.insert(0, {folder!r}); import reference; sys.stdout.buffer.write(reference.exposed())"
    )
    shown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, cwd=ROOT).stdout
    done = subprocess.run([command("promtool"), "check", "metrics"], input=shown, capture_output=True)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
