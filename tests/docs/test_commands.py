"""Every command in a fenced block runs: here, in another test, or nowhere, for a reason that is shown and counted."""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click
import commands
import pytest
import trustme
import yaml
from docs.pages import PAGES, ROOT, Command, find_blocks, list_commands
from make import FAIL, PASS, check, in_groups
from stage import Stage, served
from support import Clock, command, free_port
from web_files import issue

from exporter.cli.main import cli
from exporter.evaluation.entries import encode
from exporter.evaluation.history import Event
from exporter.model import Group


class Elsewhere(NamedTuple):
    """Commands of a page that another test runs."""

    page: str
    pattern: str
    test: str


OWN = rf"(?:^|[\s/])health-exporter(?::[\d.]+)? ((?:{'|'.join(commands.load_commands(cli))})\b[^|;&>)`]*)"
"""A command of Health Exporter, also one that runs in a container."""
DONE, ASKED = {0}, {0, 1}
RUN = {
    **dict.fromkeys(("ask", "check"), ASKED),
    **dict.fromkeys(("validate", "inject", "convert", "schema", "kinds", "completion", "explain", "replay"), DONE),
}
"""The commands that run here, with the exit codes that they may have."""
ELSEWHERE = [
    Elsewhere(
        "README.md", r"(?!make|pip|docker|kubectl).*", "test_docs.py::test_the_demo_prints_what_the_readme_shows"
    ),
    Elsewhere(
        "docs/tutorial.md",
        r"(?!kubectl|pod=|docker|kind|make|\. ).*",
        "docs/test_tutorial.py::test_part_1_prints_what_the_page_shows",
    ),
    Elsewhere("docs/authentication.md", r"(?!docker|htpasswd).*", "test_docs.py::test_the_page_s_commands_work"),
    Elsewhere("docs/configure.md", ".* serve .*", "test_docs.py::test_the_guide_s_commands_take_their_options"),
    Elsewhere("docs/holds.md", "health-exporter .*", "server/test_holding.py::test_the_commands_of_the_guide_work"),
    Elsewhere("docs/heartbeats.md", ".*", "server/test_heartbeats.py::test_the_commands_of_the_guide_send_heartbeats"),
    Elsewhere("alerts/runbooks/.*", ".*", "alerts/test_runbook_commands.py::test_every_command_to_the_exporter_works"),
    Elsewhere(
        "alerts/README.md",
        "grep .*",
        "alerts/test_runbooks.py::test_the_command_of_the_readme_points_every_link_to_the_copy",
    ),
    Elsewhere("alerts/README.md", "amtool .*", "alerts/test_alertmanager.py::test_amtool_finds_the_example_valid"),
    Elsewhere("alerts/README.md", "promtool .*", "alerts/test_rules.py::test_promtool_passes_the_test"),
    Elsewhere("alerts/README.md", "vmalert .*", "alerts/test_rules.py::test_vmalert_accepts_the_rules"),
    Elsewhere(
        "docs/releasing.md",
        r"old=.*|git grep .*|xargs .*|git diff",
        "test_release.py::test_the_documented_command_raises_the_version_everywhere",
    ),
]
NEEDS = {
    "a cluster": r"kubectl .*|pod=\$\(kubectl .*|helm .*",
    "a container engine": r"docker .*|kind .*|cd docs/compose",
    "root": r"systemctl .*|journalctl .*|install .*|/opt/.*|python3 -m venv /opt/.*|htpasswd .*",
    "a package index": r"(?:\.venv/bin/)?pip install .*",
    "a release": r"git (?:tag|push) .*|gh .*|sha256sum .*|docker buildx .*",
    "the environment that `make` builds": r"make .*|\. \.venv/bin/activate",
}
"""What a command needs that the tests do not have. Its options are tested as far as they can be."""
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: nginx
          livenessProbe: {httpGet: {port: 80}}
"""
COMMANDS = list_commands()


def find_place(shown: Command) -> str | None:
    """Where a command runs: `here`, in a test, or nowhere because of a need."""
    for page, pattern, test in ELSEWHERE:
        if re.fullmatch(page, shown.block.page) and re.fullmatch(pattern, shown.text):
            return test
    for need, pattern in NEEDS.items():
        if re.fullmatch(pattern, shown.text) and not is_own(shown):
            return need
    return "here" if is_own(shown) else None


def is_own(shown: Command) -> bool:
    """Whether the command line is one of Health Exporter, or a pipe between `kubectl get` and `kubectl apply`."""
    found = re.match(rf"(?:kubectl get [^|]*\| )?health-exporter ({'|'.join(RUN)})\b", shown.text)
    return found is not None


def test_every_command_runs_somewhere():
    assert [shown.id for shown in COMMANDS if find_place(shown) is None] == [], (
        "run it in a test and name that in ELSEWHERE, or say in NEEDS why none can"
    )


def test_the_tests_that_run_commands_exist():
    for _, _, test in ELSEWHERE:
        name, _, function = test.partition("::")
        assert f"def {function}" in (ROOT / "tests" / name).read_text()


@pytest.mark.parametrize("need", NEEDS)
def test_what_a_command_needs_is_shown(need):
    if count := sum(find_place(shown) == need for shown in COMMANDS):
        pytest.skip(f"{count} commands of the documentation need {need}")


# Health Exporter's own commands


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """An exporter whose check has failed. Its lines are what `--history.file` would have."""
    made = Stage(Clock(time.time() - 1_000_100))  # its wall clock is a million seconds ahead of it
    made.lines = []
    made.store.history.sink = lambda entry: made.lines.append(encode(entry))
    with served(made.dispatch()) as made.url:
        made.store.note(Event.STARTED)
        made.watch(check("api", groups=in_groups(Group.LIVENESS, Group.READINESS)))
        for outcome in (PASS, FAIL, FAIL, FAIL, PASS):
            made.clock.advance(10)
            made.conclude("api", outcome)
        yield made


@pytest.fixture
def folder(stage: Stage, tmp_path: Path) -> Path:
    for name in ("history.jsonl", "history/history.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("\n".join(stage.lines))
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "orders.yml").write_text("checks: [{name: orders, exec: {command: [sh, -c, exit 0]}}]\n")
    (tmp_path / "web.yaml").write_text(MANIFEST)
    checks = "checks:\n  - {name: ok, exec: {command: [sh, -c, exit 0]}}\n"
    (tmp_path / "health.yml").write_text(checks)  # on pages that show none
    return tmp_path


HERE = [shown for shown in COMMANDS if find_place(shown) == "here"]


@pytest.mark.parametrize("shown", HERE, ids=[shown.id for shown in HERE])
def test_a_command_runs(shown, folder, stage):
    """With the files that the page shows. What `kubectl apply` gets has to be Kubernetes objects."""
    for block in find_blocks(shown.block.page):
        if re.fullmatch(r"[\w.-]+\.\w+", block.title):
            (folder / block.title).write_text(block.text)
    content = MANIFEST.encode()
    for part in shown.text.split(" | "):
        program, *arguments = shlex.split(part.partition(" > ")[0])
        if program == "kubectl":
            assert all({"apiVersion", "kind"} <= found.keys() for found in yaml.safe_load_all(content))
            continue
        done = commands.run(*arguments, content=content, cwd=folder, env={"HEALTH_EXPORTER_ASK_URL": stage.url})
        assert done.returncode in RUN[arguments[0]], done.stderr
        content = done.stdout.encode()


def list_own() -> list[str]:
    """Every command of Health Exporter, also in prose, and inside commands that need something else."""
    prose = [
        " ".join(found.split())
        for page in PAGES
        if page != "CHANGELOG.md"
        for found in re.findall(r"(?<!`)`(health-exporter [^`]+)`", (ROOT / page).read_text())
    ]
    return sorted(
        {match[1].strip() for text in (*prose, *(c.text for c in COMMANDS)) for match in re.finditer(OWN, text)}
    )


@pytest.mark.parametrize("text", list_own())
def test_the_options_of_a_command_exist(text, monkeypatch):
    """A line in prose may be without arguments, or with words in capitals for them."""
    name, *arguments = shlex.split(text.replace("|", "-"))
    monkeypatch.setattr("click.Context.exit", lambda *_: None)
    if arguments:
        with suppress(click.MissingParameter):
            commands.load_commands(cli)[name].make_context(name, arguments)


# kubectl's

KUBECTL = sorted(
    {
        found.strip()
        for shown in COMMANDS
        if "runbooks" not in shown.block.page  # these have a test of their own
        for found in re.findall(r"kubectl [^|)]*(?:\)[^|)]*)*|$", shown.text)[:1]
        if found
    }
)


def test_kubectl_knows_every_command_and_option(tmp_path):
    """It reads the command line before it connects to the API server, of which there is none."""
    command("kubectl")
    issue(trustme.CA(), tmp_path, "tls")
    for name in ("web.yml", "health-exporter.password", "ca.crt"):
        (tmp_path / name).write_text("a")
    (tmp_path / "k8s").symlink_to(ROOT / "k8s")
    server = f"kubectl --server=http://127.0.0.1:{free_port()} "
    env = {**os.environ, "KUBECONFIG": "/dev/null", "pod": "pod/web"}
    for text in KUBECTL:
        line = f"{server}{text.removeprefix('kubectl ')}"
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=env, input=MANIFEST, capture_output=True, text=True
        )
        assert (done.returncode, "refused" in done.stderr) == (1, True), (text, done.stderr)
