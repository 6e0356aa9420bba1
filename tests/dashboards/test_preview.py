"""The requirements of `make dashboards-preview` for drawing every dashboard, checked without drawing one."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parents[2] / "dashboards"
PREVIEW = DASHBOARDS / "preview"


def _panels(panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        yield panel
        yield from _panels(panel.get("panels", []))


def test_the_renderer_supports_every_panel_type_in_the_dashboards() -> None:
    supported = {
        "row",
        *re.findall(r"^  '?([a-z-]+)'?: \(", (PREVIEW / "src" / "panels.tsx").read_text(), re.MULTILINE),
    }
    files = list(DASHBOARDS.glob("*.json"))
    used = {panel["type"] for file in files for panel in _panels(json.loads(file.read_text())["panels"])}
    assert files
    assert used <= supported


def test_the_lock_file_of_the_renderer_contains_no_registry() -> None:
    packages = json.loads((PREVIEW / "package-lock.json").read_text())["packages"]
    assert len(packages) > 100
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if name and "integrity" not in package] == []
