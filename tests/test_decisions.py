"""The decision records: all in the index, all in one form."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_index_lists_every_record_in_order():
    assert re.findall(r"^\| \[\d{4}\]\((\S+)\) \|", INDEX, re.MULTILINE) == [path.name for path in RECORDS]
    assert [path.name[:4] for path in RECORDS] == [f"{number:04}" for number in range(1, len(RECORDS) + 1)]
    assert all(f"[{path.name[:4]}]({path.name})" in INDEX for path in RECORDS)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_has_its_parts_and_fits_on_one_page(path):
    text = path.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ .+$", text, re.MULTILINE)

    assert headings[0].startswith(f"# {path.name[:4]} ")
    assert headings[1:] == ["## Context", "## Decision", "## Consequences"]
    assert len(text.splitlines()) <= 50


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_s_links_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8"))

    assert [target for target in targets if not (FOLDER / target).exists()] == []
