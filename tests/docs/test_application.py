"""The programs of docs/application.md work with its checks."""

from pathlib import Path
from typing import Any

from docs.pages import find_blocks

BLOCKS = {block.title: block.text for block in find_blocks("docs/application.md")}


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "app"}
    exec(code, names)
    return names


def test_the_route_is_where_the_check_asks():
    app = run(BLOCKS["app.py"])["app"]

    assert "path: /health," in BLOCKS["health.yml"]
    assert app.test_client().get("/health").status_code == 200


def test_the_worker_touches_the_file_that_the_check_reads(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    path, once = "/run/app/heartbeat", BLOCKS["worker.py"].replace("while True:", "for _ in range(1):")
    assert f"path: {path}," in BLOCKS["health.yml for the worker"]
    run(once.replace(path, str(tmp_path / "heartbeat")))

    assert (tmp_path / "heartbeat").is_file()
