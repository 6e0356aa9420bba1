"""`check --watch`: run the checks again and again, and show what changes.

On a terminal, the report is drawn again in its place. In a pipe, each change is a line.
"""

import logging
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from exporter.cli.screen import MIN_WIDTH, is_terminal, use_color
from exporter.evaluation.judge import judge
from exporter.evaluation.once import settle_at_once
from exporter.evaluation.schedule import Schedule
from exporter.evaluation.store import Store
from exporter.exitcodes import HEALTHY, UNHEALTHY
from exporter.lines import format_time
from exporter.model import Group, Reason, Snapshot, Status, Verdict
from exporter.probe.check import Check
from exporter.render.columns import cut
from exporter.render.report import render_change, render_rows, render_short_rows, render_verdict

PAUSE = 0.1  # seconds from one look for changes to the next


def watch(checks: Sequence[Check], group: Group, *, fail_fast: bool) -> int:
    """Run each check every periodSeconds and show the results, until Ctrl-C or a closed pipe.

    With `fail_fast`, end as soon as the group is not healthy. Returns the exit code of the latest verdict. Raises
    PoolError if the system cannot start enough threads.
    """
    logging.getLogger().addHandler(logging.NullHandler())  # the report contains everything that would be logged
    store = Store()
    schedule = Schedule(store)
    schedule.replace(store.configure(settle_at_once(check) for check in checks))
    show = _Screen(len(checks)).show if is_terminal(sys.stdout) else _Lines(checks).show
    try:
        while True:
            snapshot = _leave_out_pending(store.snapshot())
            verdict = judge(snapshot, group)
            if not _write(show(snapshot, verdict)) or (fail_fast and not verdict.up):
                return HEALTHY if verdict.up else UNHEALTHY
            time.sleep(PAUSE)
    finally:
        schedule.stop()


def _leave_out_pending(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot without the checks whose first run has not ended."""
    return replace(snapshot, states={name: state for name, state in snapshot.states.items() if state.runs})


def _write(text: str) -> bool:
    """Write the text, and return whether somebody can still read it."""
    if not text:
        return True
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (OSError, AttributeError):  # the pipe is closed; or there is no standard output
        return False
    return True


class _Screen:
    """The report, drawn again in the same place after each result."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._generation = -1
        self._size = shutil.get_terminal_size()
        self._height = 0  # lines of the present drawing

    def show(self, snapshot: Snapshot, verdict: Verdict) -> str:
        """Return what draws the snapshot, or nothing if it is drawn already."""
        size = shutil.get_terminal_size()
        if (snapshot.generation, size) == (self._generation, self._size):
            return ""
        # After a change of its size, the terminal may have wrapped the lines, so their number is unknown.
        begin = "\x1b[H\x1b[2J" if size != self._size else f"\x1b[{self._height}F" if self._height else ""
        self._generation, self._size = snapshot.generation, size
        lines = self._draw(snapshot, verdict)
        self._height = len(lines)
        return begin + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J"

    def _draw(self, snapshot: Snapshot, verdict: Verdict) -> list[str]:
        """Return the lines, at most as many as the terminal has."""
        width, room = max(MIN_WIDTH, self._size.columns - 1), self._size.lines - 3
        lines = [line for row in render_rows(snapshot, color=use_color(), width=width) for line in row]
        if len(lines) > room:
            lines = [*render_short_rows(snapshot, color=use_color(), width=width)]
        if len(lines) > room:
            lines[room - 1 :] = [f"... and {len(lines) - room + 1} more"]
        # Before the first result, the verdict is that of no checks, which is a pass.
        summary = render_verdict(snapshot, verdict) if snapshot.states or not self._total else "no results yet"
        return [*lines, "", cut(f"{summary}, {self._describe(snapshot)}", width)]

    def _describe(self, snapshot: Snapshot) -> str:
        pending = self._total - len(snapshot.states)
        more = f"{pending} not run yet, " if pending else ""
        return f"{more}{format_time(snapshot.timestamp)[:19]}Z. Ctrl-C ends"


class _Lines:
    """One line for each change of a status or its reason."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._names = [check.spec.name for check in checks]
        self._shown: dict[str, tuple[Status, Reason | None]] = {}

    def show(self, snapshot: Snapshot, _verdict: Verdict) -> str:
        """Return the lines of what has changed since the last call."""
        return "".join(f"{line}\n" for line in self._list_changes(snapshot))

    def _list_changes(self, snapshot: Snapshot) -> Iterator[str]:
        for name, state in sorted(snapshot.states.items(), key=lambda item: item[1].last.ended if item[1].last else 0):
            now = state.status, state.reason
            if self._shown.get(name) != now:
                self._shown[name] = now
                yield render_change(state, self._names, color=use_color())
