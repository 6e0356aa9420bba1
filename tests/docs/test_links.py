"""Comments in manifests, rules and code name pages and sections that exist. test_docs.py has the links of the pages."""

import re
from pathlib import Path

import pytest
from docs.shell import ROOT

FILES = [
    path
    for pattern in ("k8s/**/*.y*ml", "alerts/*.yml", "exporter/**/*.py", "dashboards/source/*.py", ".github/**/*.yml")
    for path in sorted(ROOT.glob(pattern))
]
NAME = re.compile(r"(?<![\w/.])(?:\.\./)*(?:[\w-]+/)*(?:[A-Z]{5,}|(?<=docs/)[\w-]+)\.md\b(?:, \"([^\"]+)\")?")
RULES = re.compile(r"k8s/components/prometheusrule/.*")  # copies of the comments in alerts/


def find_faults(path: Path) -> list[str]:
    faults = []
    for match in NAME.finditer(re.sub(r"https?://\S+", "", path.read_text())):
        name, section = match[0].partition(",")[0], match[1]
        page = next((folder / name for folder in (path.parent, ROOT) if (folder / name).is_file()), None)
        if page is None or (section and not re.search(rf"^#+ {re.escape(section)}$", page.read_text(), re.MULTILINE)):
            faults.append(match[0])
    return faults


def test_comments_name_pages_that_exist():
    named = [path for path in FILES if NAME.search(path.read_text())]
    faults = {path.relative_to(ROOT).as_posix(): find_faults(path) for path in named}

    assert len(named) > 15
    assert {path: found for path, found in faults.items() if found and not RULES.match(path)} == {}


@pytest.mark.parametrize("text", ["# see docs/no.md.", '# see README.md, "No such section".'])
def test_a_comment_that_leads_nowhere_is_found(tmp_path, text):
    (tmp_path / "a.yml").write_text(text)

    assert find_faults(tmp_path / "a.yml")
