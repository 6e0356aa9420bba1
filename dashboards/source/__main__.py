"""`python -m dashboards.source` writes the dashboards: `make dashboards` runs it after a change."""

import json
from pathlib import Path
from typing import Any

from dashboards.source import check, exporter, overview

FOLDER = Path(__file__).parents[1]
BOARDS = {"overview": overview.board, "check": check.board, "exporter": exporter.board}


def rendered(board: dict[str, Any]) -> str:
    """The file of a dashboard."""
    return json.dumps(board, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every file."""
    for name, board in BOARDS.items():
        (FOLDER / f"{name}.json").write_text(rendered(board()))


if __name__ == "__main__":
    main()
