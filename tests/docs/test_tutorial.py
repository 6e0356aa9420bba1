"""docs/tutorial.md: part 1 as a reader types it, and the facts of part 2, which needs a cluster."""

import re
from contextlib import closing
from pathlib import Path

from docs.shell import ROOT, Shell, steady
from support import command, eventually, free_port

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
LOCAL, _, IN_CLUSTER = PAGE.partition("## Part 2")
INSTALL = "make run\n. .venv/bin/activate\n"
"""The only commands that are left out: `make` itself has tests, and the environment of the tests is this one."""


def list_steps() -> list[tuple[str, str]]:
    """The commands of part 1 with what they print."""
    steps = []
    for language, code in re.findall(r"^```(sh|console)\n(.*?)^```", LOCAL, re.DOTALL | re.MULTILINE):
        if language == "sh":
            steps.append((code, ""))
        else:
            steps += [step.partition("\n")[::2] for step in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]]
    return steps


def test_part_1_prints_what_the_page_shows(tmp_path: Path) -> None:
    """Only the ports differ, and instead of a `sleep`, a command is repeated until it prints what the page shows."""
    command("curl")
    web, port = str(free_port()), free_port()
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "k8s").symlink_to(ROOT / "k8s")
    env = {"PORT": web, "DRAIN_SECONDS": "0", "HEALTH_EXPORTER_ASK_URL": url, "HEALTH_EXPORTER_ASK_TIMEOUT": "30"}
    serve = "health-exporter serve"
    replaced = {"8080": web, "http://127.0.0.1:4584": url, serve: f"{serve} --web.listen-address 127.0.0.1:{port}"}
    steps = [step for step in list_steps() if step[0] != INSTALL]
    with closing(Shell(tmp_path, **env)) as terminal:
        for step in steps:
            typed, shown = (replace(text, replaced) for text in step)
            slept, _, then = typed.rpartition("; ") if typed.startswith("sleep") else ("", "", typed)
            if slept:
                eventually(lambda: find_difference(terminal.run(then), shown) is None, what=typed)  # noqa: B023
            else:
                assert find_difference(terminal.run(typed), shown) is None, typed

    assert len(steps) > 12


def find_difference(printed: str, shown: str) -> tuple[str, str] | None:
    """What differs, if the page does not show it: a line with three dots stands for any lines.

    With such a line, the white space does not count either: where a text is wrapped depends on the port.
    """
    printed, shown = steady(printed), steady(shown)
    if "...\n" not in shown:
        return None if printed == shown else (printed, shown)
    printed, parts = " ".join(printed.split()), [" ".join(part.split()) for part in shown.split("...\n")]
    return None if re.fullmatch(".*".join(map(re.escape, parts)), printed) else (printed, shown)


def replace(text: str, replaced: dict[str, str]) -> str:
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text


def test_part_2_names_the_times_that_the_manifests_lead_to() -> None:
    table = (ROOT / "docs" / "probe-timing.md").read_text()
    rows = re.findall(r"^\| fault to .*\| (\d+ to \d+) s \| .* \|$", table, re.MULTILINE)

    assert rows == ["32 to 45", "8 to 17"]
    assert all(f"{times} seconds" in " ".join(IN_CLUSTER.split()) for times in rows)
