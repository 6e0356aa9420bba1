"""A release has one version, written in several places, and notes from the changelog."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from exporter import __version__

ROOT = Path(__file__).parent.parent
PLACES = {  # a pattern, and the files that have it
    r"^__version__ = \"(.+)\"": ["exporter/__init__.py"],
    r"^ARG VERSION=(\S+)": ["Dockerfile"],
    r"^  version: (\S+)": ["docs/openapi.yaml"],
    r"health-exporter:(\d\S*)": ["README.md", "k8s/README.md"],
    r"(?:rev: |REPOSITORY@)v(\S+)": ["docs/ci.md"],
    r"newTag: ([^\s,}]+)": ["k8s/README.md", "k8s/**/kustomization.yaml"],
    r"app.kubernetes.io/version: (\S+)": ["k8s/base/*.yaml"],
    r"^(?:version|appVersion): (\S+)": ["k8s/chart/Chart.yaml"],
}
CHANGELOG = """\
# Changelog

## [Unreleased]

## [0.2.0] - 2026-12-01

### Added

- Something new.

## [0.1.0] - 2026-11-01

- The first.

[0.2.0]: somewhere
"""

_spec = importlib.util.spec_from_file_location("release_notes", ROOT / ".github" / "release_notes.py")
assert _spec is not None
assert _spec.loader is not None
release_notes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(release_notes)


def versions(root: Path) -> dict[str, set[str]]:
    """The versions in each file that has one."""
    found: dict[str, set[str]] = {}
    for pattern, globs in PLACES.items():
        for path in (path for glob in globs for path in root.glob(glob)):
            texts = re.findall(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
            found.setdefault(path.relative_to(root).as_posix(), set()).update(texts)
    return {name: texts for name, texts in found.items() if texts}


def test_all_places_have_the_same_version():
    found = versions(ROOT)

    assert {name for name, texts in found.items() if texts != {__version__}} == set()
    for globs in PLACES.values():
        assert any(Path(name).match(glob.replace("**/", "")) for name in found for glob in globs), f"nothing in {globs}"


def test_the_documented_command_raises_the_version_everywhere(tmp_path):
    page = (ROOT / "docs" / "releasing.md").read_text(encoding="utf-8")
    command = re.search(r"^ +(git grep .+\|\s+xargs sed .+)$", page, re.MULTILINE)
    assert command is not None
    for name in ("exporter/__init__.py", "Dockerfile", "README.md", "docs/ci.md", "docs/openapi.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    script = f"set -e; git init -q .; git add .; old={__version__} new=9.8.7; {command[1]}"
    subprocess.run(["bash", "-c", script], cwd=tmp_path, check=True, timeout=60)

    assert versions(tmp_path) == {name: {"9.8.7"} for name in versions(ROOT)}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "exporter").mkdir()
    (tmp_path / "exporter" / "__init__.py").write_text('"""A package."""\n\n__version__ = "0.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path


def test_the_notes_are_the_changelog_s_section(tree):
    assert release_notes.notes(tree, "v0.2.0") == "### Added\n\n- Something new.\n"


def test_the_links_at_the_end_are_not_part_of_the_notes(tree):
    (tree / "exporter" / "__init__.py").write_text('__version__ = "0.1.0"\n')

    assert release_notes.notes(tree, "v0.1.0") == "- The first.\n"


@pytest.mark.parametrize("tag", ["v0.1.0", "0.2.0", "v0.2.0rc1", "v0x2.0"])
def test_a_tag_that_is_not_the_version_is_refused(tree, tag):
    with pytest.raises(SystemExit, match=f"the tag is {re.escape(tag)}, but exporter.__version__ is 0.2.0"):
        release_notes.notes(tree, tag)


@pytest.mark.parametrize(
    "changelog",
    [
        CHANGELOG.replace("## [0.2.0] - 2026-12-01", "## [0.2.0]"),
        CHANGELOG.replace("## [0.2.0] - 2026-12-01\n\n### Added\n\n- Something new.\n", ""),
        CHANGELOG.replace("### Added\n\n- Something new.\n", ""),
    ],
    ids=["without a date", "missing", "empty"],
)
def test_a_version_without_notes_is_refused(tree, changelog):
    (tree / "CHANGELOG.md").write_text(changelog)

    with pytest.raises(SystemExit, match=r"CHANGELOG.md has no section"):
        release_notes.notes(tree, "v0.2.0")


def test_the_code_s_own_version_is_found():
    assert release_notes.version(ROOT) == __version__
