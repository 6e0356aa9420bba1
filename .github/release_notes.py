"""Print a version's release notes from the changelog: `release_notes.py v0.1.0`.

Fails when the tag is not the version in the code, or when the changelog has no section for it.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def version(root: Path) -> str:
    """The version in the code, read without importing it, because no dependency is installed."""
    found = re.search(r'^__version__ = "([^"]+)"$', (root / "exporter/__init__.py").read_text("utf-8"), re.MULTILINE)
    if not found:
        sys.exit("exporter/__init__.py has no __version__")
    return found[1]


def notes(root: Path, tag: str) -> str:
    """The changelog's section for this tag, without its heading."""
    if tag != f"v{version(root)}":
        sys.exit(f"the tag is {tag}, but exporter.__version__ is {version(root)}: tag v{version(root)}, or raise it")
    heading = rf"^## \[{re.escape(tag[1:])}\] - \d{{4}}-\d\d-\d\d\n"
    end = r"(?=^## |^\[[^\]]+\]: |\Z)"  # the next version, or the links at the end of the file
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    found = re.search(f"{heading}(.*?){end}", changelog, re.MULTILINE | re.DOTALL)
    if not found or not found[1].strip():
        sys.exit(f"CHANGELOG.md has no section `## [{tag[1:]}] - YYYY-MM-DD`: rename `## [Unreleased]`")
    return found[1].strip() + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: release_notes.py vX.Y.Z")
    sys.stdout.write(notes(ROOT, sys.argv[1]))
