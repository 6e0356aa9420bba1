"""Snapshot -> the Test Anything Protocol, version 13, which every consumer reads."""

import json
from collections.abc import Iterator

from exporter.evaluation.judge import satisfies
from exporter.model import Snapshot, State, Verdict
from exporter.render.words import find_summary


def render(_snapshot: Snapshot, verdict: Verdict) -> str:
    """Return one test for each check, with a YAML block for one that did not pass."""
    lines = ["TAP version 13", f"1..{len(verdict.members)}"]
    for number, state in enumerate(verdict.members, 1):
        ok = "ok" if satisfies(state, verdict.group) else "not ok"
        lines.append(f"{ok} {number} - {state.spec.name} ({state.spec.kind})")
        lines += _describe(state) if state.reason else ()
    return "\n".join(lines)


def _describe(state: State) -> Iterator[str]:
    yield "  ---"
    for key, value in (("status", state.status), ("reason", state.reason), ("message", find_summary(state))):
        yield f"  {key}: {json.dumps(value, ensure_ascii=False)}"  # JSON is YAML
    yield "  ..."
