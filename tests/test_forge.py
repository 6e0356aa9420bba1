"""The files for the forge: workflows, hooks, the action and the forms. They call what exists, and validate works."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import unavailable

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
GOOD = "checks:\n  - {name: api, httpGet: {port: 80}}\n"
BAD = "checks:\n  - {name: api, httpGet: {}}\n"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def commands() -> list[str]:
    """What the workflows' steps and the repository's own pre-commit hooks run."""
    jobs = [job for path in WORKFLOWS for job in load(path)["jobs"].values()]
    steps = [step["run"] for job in jobs for step in job.get("steps", ()) if "run" in step]
    hooks = [hook["entry"] for repo in load(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    return [*steps, *hooks]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """`health-exporter` as it would be installed, in a folder of its own, with a good and two bad configurations."""
    folder = tmp_path / "health-exporter" / "bin"
    folder.mkdir(parents=True)
    (folder / "health-exporter").write_text(f'#!/bin/sh\nexec {sys.executable} -m exporter "$@"\n')
    (folder / "health-exporter").chmod(0o755)
    for name, content in {"health.yml": GOOD, "b c/health.yml": BAD, "-d/health.yml": BAD}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    return folder


# Workflows


def test_the_workflows_and_hooks_call_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))
    called = {
        word
        for text in commands()
        for words in re.findall(r"^make (.+)$", text, re.MULTILINE)
        for word in words.split()
    }
    called = {word for word in called if "=" not in word}

    assert {"check", "fast", "test", "coverage"} <= called
    assert called - targets == set()


def test_ci_runs_on_every_python_from_the_oldest_that_the_package_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = re.fullmatch(r">=3\.(\d+)", project["requires-python"])
    assert oldest is not None
    matrix = load(GITHUB / "workflows" / "ci.yml")["jobs"]["fast"]["strategy"]["matrix"]["python"]

    assert len(matrix) > 1
    assert matrix == [f"3.{int(oldest[1]) + number}" for number in range(len(matrix))]


def test_every_job_names_its_permissions_and_nothing_else_grants_any():
    for path in WORKFLOWS:
        workflow = load(path)
        assert workflow["permissions"] == {}, path.name
        assert [name for name, job in workflow["jobs"].items() if "permissions" not in job] == [], path.name


def test_actions_are_pinned_to_commits_that_name_their_version():
    lines = [line.strip() for path in WORKFLOWS for line in path.read_text().splitlines() if "uses:" in line]
    pinned = re.compile(r"(- )?uses: (\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/\S+\.yml( #.*)?)")

    assert len(lines) > 5
    assert [line for line in lines if not pinned.fullmatch(line)] == []


def test_actionlint_finds_no_fault():
    if not (actionlint := shutil.which("actionlint")):
        pytest.skip("actionlint is not installed (go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12)")
    done = subprocess.run([actionlint, *WORKFLOWS], capture_output=True, text=True, cwd=ROOT, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_zizmor_finds_no_fault():
    zizmor = Path(sys.executable).with_name("zizmor")
    if not zizmor.exists():
        unavailable("zizmor is not installed")
    files = [*WORKFLOWS, ROOT / "action.yml", GITHUB / "dependabot.yml"]
    done = subprocess.run([zizmor, "--offline", "--no-progress", *files], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stdout
    assert "No findings to report" in done.stdout


# Updates


def test_dependabot_looks_after_every_folder_with_dependencies():
    updates = load(GITHUB / "dependabot.yml")["updates"]
    watched = {(each["package-ecosystem"], folder) for each in updates for folder in each.get("directories", ())}
    watched |= {(each["package-ecosystem"], each["directory"]) for each in updates if "directory" in each}
    packages = (path for path in ROOT.glob("*/*/package.json"))
    deeper = (path for path in ROOT.glob("*/*/*/package.json"))
    npm = {("npm", f"/{path.parent.relative_to(ROOT).as_posix()}") for path in [*packages, *deeper]}
    npm = {each for each in npm if "/node_modules/" not in each[1] and not each[1].startswith("/.")}

    assert watched == npm | {("pip", "/"), ("github-actions", "/"), ("docker", "/")}
    assert all(each["cooldown"]["default-days"] >= 7 for each in updates)


# The hook that users' repositories call


def hook() -> dict[str, Any]:
    (only,) = load(ROOT / ".pre-commit-hooks.yaml")
    return only


def hooked(program: Path, *files: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PATH": f"{program}:{os.environ['PATH']}"}
    words = [*shlex.split(hook()["entry"]), *files]
    return subprocess.run(words, cwd=program.parents[1], env=env, capture_output=True, text=True, timeout=60)


def test_the_hook_validates_each_file_and_fails_when_one_is_bad(program):
    done = hooked(program, "b c/health.yml", "health.yml")

    assert done.returncode == 2
    assert done.stderr == "b c/health.yml:2: checks[0].httpGet.port: is required\n"
    assert done.stdout == "health.yml: valid, 1 check\n"


def test_the_hook_passes_when_every_file_is_valid(program):
    assert hooked(program, "health.yml", "health.yml").returncode == 0


def test_the_hook_does_not_take_a_file_for_an_option(program):
    assert "-d/health.yml:2: " in hooked(program, "-d/health.yml").stderr


@pytest.mark.parametrize(
    ("path", "matches"),
    [("health.yml", True), ("deploy/health.yaml", True), ("unhealth.yml", False), ("health.yml.j2", False)],
)
def test_the_hook_takes_configurations_by_their_usual_name(path, matches):
    assert bool(re.search(hook()["files"], path)) is matches


# The action that users' workflows call


def validated(program: Path, files: str, scrape_interval: str = "30") -> "subprocess.CompletedProcess[str]":
    """The action's last step, run as the forge's runner does, with the program where the first step installs it."""
    step = load(ROOT / "action.yml")["runs"]["steps"][-1]
    values = {"${{ inputs.files }}": files, "${{ inputs.scrape-interval }}": scrape_interval}
    env = {name: values[text] for name, text in step["env"].items()}
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    env = {**os.environ, **env, "RUNNER_TEMP": str(program.parents[1])}
    return subprocess.run(words, cwd=program.parents[1], env=env, capture_output=True, text=True, timeout=60)


def test_the_action_takes_a_path_or_a_pattern_a_line(program):
    done = validated(program, "health.yml\nb c/*.yml\n")

    assert done.returncode == 2
    assert done.stdout.splitlines() == [
        "health.yml: valid, 1 check",
        "::error file=b c/health.yml,line=2::checks[0].httpGet.port: is required",
    ]


def test_the_action_passes_when_every_file_is_valid(program):
    assert validated(program, "health.yml").returncode == 0


@pytest.mark.parametrize("files", ["", " \n", "none.yml", "none/*.yml"])
def test_the_action_fails_when_there_is_nothing_to_validate(program, files):
    assert validated(program, files).returncode != 0


def test_the_action_gives_advice_for_the_scrape_interval(program):
    (program.parents[1] / "health.yml").write_text(
        "checks:\n  - {name: api, httpGet: {port: 80}, periodSeconds: 5, groups: [liveness]}\n"
    )

    assert "the scrape interval of 60 s" in validated(program, "health.yml", "60").stdout
    assert "scrape interval" not in validated(program, "health.yml", "5").stdout


def test_the_action_installs_only_what_is_pinned_with_a_hash():
    install = load(ROOT / "action.yml")["runs"]["steps"][0]["run"]

    assert "--require-hashes" in install
    names = set(re.findall(r"requirements[\w-]*\.txt", install))
    assert names == {"requirements.txt", "requirements-extras.txt"}
    for name in names:
        assert "--hash=sha256:" in (ROOT / name).read_text(), name
        assert "flit-core==" in (ROOT / name).read_text(), f"{name}: the package is built without isolation"


def test_the_documentation_lists_the_inputs_with_their_defaults():
    inputs = load(ROOT / "action.yml")["inputs"]
    rows = re.findall(r"^\| `([\w-]+)` \| (?:`(\S+)` )?\|", (ROOT / "docs" / "ci.md").read_text(), re.MULTILINE)

    assert dict(rows) == {name: each.get("default", "") for name, each in inputs.items()}


# Forms


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_s_fields_have_labels_and_ids_of_their_own(path):
    form = load(path)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    ids = [field["id"] for field in fields]

    assert form["name"]
    assert form["description"]
    assert len(set(ids)) == len(ids) > 2
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)
