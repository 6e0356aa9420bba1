"""Every configuration and program in a fenced block is one that its reader accepts."""

import ast
import json
import shlex
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import commands
import pytest
import yaml
from docs.pages import PAGES, ROOT, Block, find_blocks, list_blocks
from support import command

from k8s import schemas

ELSEWHERE = {
    "web.yml": "test_docs.py::test_the_page_s_web_configurations_load_with_its_certificate",
    "blackbox.yml": "test_migration.py::test_blackbox_exporter_accepts_its_configuration",
    "kustomization.yaml": "k8s/test_sidecar_components.py::test_the_files_at_the_start_of_the_readme_add_the_exporter",
    "dice": "probe/test_plugins.py::test_",
}
"""Blocks of which another test has the file, by the file's name or the kind."""
PROBES = {"startupProbe", "livenessProbe", "readinessProbe", "env"}
YAML = list_blocks("yaml")


Handler: TypeAlias = Callable[[Block, Path], None]


def parse(block: Block) -> Any:
    return yaml.safe_load(block.text)


def find_handler(block: Block) -> Handler | str | None:
    """How a block is tested: by a function, or by the test that ELSEWHERE names."""
    for name, test in ELSEWHERE.items():
        if block.title.startswith(name) or f"{name}:" in block.text.split():
            return test
    content = parse(block)
    if isinstance(content, list):
        return accept_hooks if "id" in content[0] else accept_checks
    return next((handler for known, handler in HANDLERS if content.keys() <= known), None)


def accept_checks(block: Block, folder: Path) -> None:
    """The exporter loads it. An environment variable or a file of another machine is only advice."""
    text = block.text if isinstance(parse(block), dict) else f"checks:\n{block.text}"
    (folder / "health.yml").write_text(text)
    done = commands.run("validate", folder / "health.yml")

    assert done.returncode == 0, done.stderr


def accept_container(block: Block, _folder: Path) -> None:
    """The API server accepts a container with these fields."""
    container = {"name": "web", "image": "web", **parse(block)}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [container]}}

    schemas.validate(pod, "1.33")


def accept_hooks(block: Block, _folder: Path) -> None:
    """The hooks of this repository have these ids."""
    content = parse(block)
    hooks = content if isinstance(content, list) else [hook for repo in content["repos"] for hook in repo["hooks"]]
    known = {hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}

    assert {hook["id"] for hook in hooks} <= known


def accept_steps(block: Block, _folder: Path) -> None:
    """The action has these inputs."""
    used = {name for step in parse(block)["steps"] for name in step.get("with", {})}

    assert used <= yaml.safe_load((ROOT / "action.yml").read_text())["inputs"].keys()


def accept_provisioning(block: Block, _folder: Path) -> None:
    """Grafana's documented keys of a provider of dashboards."""
    (provider,) = parse(block)["providers"]

    assert provider.keys() <= {"name", "type", "folder", "options"}
    assert provider["options"].keys() == {"path"}


def accept_jobs(block: Block, folder: Path) -> None:
    """The commands of the job write the report that it keeps."""
    (folder / "health.yml").write_text("checks:\n  - {name: ok, exec: {command: [sh, -c, exit 0]}}\n")
    for job in parse(block).values():
        for line in job["script"]:
            program, *arguments = shlex.split(line)
            assert program == "health-exporter"
            done = commands.run(*arguments, cwd=folder)
            assert done.returncode == 0, done.stderr
        assert (folder / job["artifacts"]["reports"]["junit"]).is_file()


def accept_prometheus(_block: Block, _folder: Path) -> None:
    """One call of promtool is enough for all: see test_promtool_accepts_the_configurations_of_prometheus."""


def accept_rules(_block: Block, _folder: Path) -> None:
    """See test_promtool_accepts_the_rules_and_queries."""


HANDLERS: list[tuple[set[str], Handler]] = [
    ({"checks"}, accept_checks),
    (PROBES, accept_container),
    ({"scrape_configs", "global", "rule_files", "alerting"}, accept_prometheus),
    ({"receivers"}, accept_prometheus),  # of the OpenTelemetry Collector, with the same configuration inside
    ({"groups"}, accept_rules),
    ({"check"}, accept_jobs),
    ({"repos"}, accept_hooks),
    ({"steps"}, accept_steps),
    ({"apiVersion", "providers"}, accept_provisioning),
]


@pytest.mark.parametrize("block", YAML, ids=[block.id for block in YAML])
def test_a_configuration_is_accepted(block, tmp_path):
    handler = find_handler(block)

    assert handler is not None, "what reads this? Add it to HANDLERS, or a test that does to ELSEWHERE"
    if callable(handler):
        handler(block, tmp_path)


def test_the_tests_elsewhere_exist():
    for test in ELSEWHERE.values():
        name, _, function = test.partition("::")
        assert f"def {function}" in (ROOT / "tests" / name).read_text()


def test_promtool_accepts_the_configurations_of_prometheus(tmp_path):
    """All in one call, also those that the OpenTelemetry Collector reads."""
    found = [parse(block) for block in YAML if find_handler(block) is accept_prometheus]
    (tmp_path / "alerts").symlink_to(ROOT / "alerts")
    for name in ("ca.crt", "health-exporter.password"):
        (tmp_path / name).write_text("a")
    paths = [tmp_path / f"{number}.yml" for number, _ in enumerate(found)]
    for path, content in zip(paths, found, strict=True):
        path.write_text(yaml.safe_dump(content.get("receivers", {}).get("prometheus", {}).get("config") or content))
    done = subprocess.run(
        [command("promtool"), "check", "config", "--syntax-only", *paths], capture_output=True, text=True
    )

    assert len(found) >= 5
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules_and_queries(tmp_path):
    """The queries of docs/queries.md and of the runbooks have tests that also run them."""
    queries = [{"record": f"query:{number}", "expr": block.text} for number, block in enumerate(list_blocks("promql"))]
    documents = [parse(block) for block in YAML if find_handler(block) is accept_rules]
    groups = [*(group for document in documents for group in document["groups"]), {"name": "queries", "rules": queries}]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    done = subprocess.run([command("promtool"), "check", "rules", tmp_path / "rules.yml"], capture_output=True)

    assert len(groups) > 1
    assert done.returncode == 0, done.stdout


def test_systemd_accepts_the_units(tmp_path):
    units = {Path(block.title).name: block.text for block in list_blocks("ini")}
    for name, text in units.items():
        (tmp_path / name).write_text(text)
    verify = [command("systemd-analyze"), "verify", "--man=no", *(tmp_path / name for name in units)]
    done = subprocess.run(verify, capture_output=True, text=True)

    assert units
    assert [line for line in done.stderr.splitlines() if any(name in line for name in units)] == []


@pytest.mark.parametrize("block", list_blocks("python", "toml", "json"), ids=lambda block: block.id)
def test_a_program_or_a_file_can_be_parsed(block):
    """test_public_api.py and the tests of the pages run the programs."""
    {"python": ast.parse, "toml": tomllib.loads, "json": json.loads}[block.language](block.text)


def test_every_block_has_a_language_that_is_tested():
    """`text` is output. The block without a language is the diagram of the rooms, which test_house.py reads."""
    tested = {"yaml", "promql", "ini", "python", "toml", "json", "sh", "console"}
    blocks = [block for page in PAGES for block in find_blocks(page) if block.language not in tested]

    assert {block.page for block in blocks if block.language != "text"} == {"CONTRIBUTING.md"}
