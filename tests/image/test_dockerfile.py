"""The instructions in the Dockerfile, checked without a build."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from exporter import __version__
from exporter.addresses import DEFAULT_ADDRESS
from exporter.ask import Access, parse_arguments

ROOT = Path(__file__).parents[2]
BUILD_ONLY = {"build", "dev"}
"""Extras for development, not for users of the exporter."""


def instructions() -> list[tuple[str, str]]:
    """The name and the text of each instruction, joined to one line."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(name, text) for name, _, text in (line.partition(" ") for line in whole) if name]


def texts(name: str) -> list[str]:
    return [text for instruction, text in instructions() if instruction == name]


def pins(name: str) -> dict[str, str]:
    """The packages in a lock file, with their versions and hashes."""
    found = re.findall(
        r"^([a-z0-9-]+)==(\S+ \\\n(?:    --hash=\S+(?: \\)?\n)+)", (ROOT / name).read_text(), re.MULTILINE
    )
    assert len(found) == (ROOT / name).read_text().count("==")
    return dict(found)


def packages(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def test_hadolint_reports_nothing():
    result = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60
    )

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_every_stage_uses_the_given_base_and_no_registry_is_named():
    assert instructions()[0] == ("ARG", "BASE=official")
    assert texts("FROM")[1:] == ["${BASE} AS build", "${BASE}"]
    assert "://" not in (ROOT / "Dockerfile").read_text()


def test_the_default_base_is_pinned_by_its_digest():
    """On a line of its own with FROM, because Dependabot does not update the default of an ARG."""
    assert re.fullmatch(r"python:3\.\d+-slim@sha256:[0-9a-f]{64} AS official", texts("FROM")[0])


def test_the_version_label_is_the_version_of_the_package():
    assert f"VERSION={__version__}" in texts("ARG")


@pytest.mark.parametrize("name", ["ENTRYPOINT", "CMD", "HEALTHCHECK"])
def test_commands_need_no_shell(name):
    (text,) = texts(name)

    assert all(isinstance(word, str) for word in json.loads(text[text.index("[") :]))


def test_the_healthcheck_is_a_valid_ask_command():
    (text,) = texts("HEALTHCHECK")
    program, command, *words = json.loads(text[text.index("[") :])

    assert (program, command) == ("health-exporter", "ask")
    assert parse_arguments(words, {}) == ("exporter", "http://127.0.0.1:4584", 1, 0, Access(), False)


def test_the_exposed_port_is_the_default_port():
    assert texts("EXPOSE") == [DEFAULT_ADDRESS.removeprefix(":")]


def test_the_user_is_a_number_and_not_root():
    (user,) = texts("USER")

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_every_package_is_verified_by_its_hash():
    runs = " ".join(texts("RUN"))
    downloads, installs = re.findall(r"pip download [^&]*", runs), re.findall(r"pip [^&]*\binstall [^&]*", runs)

    assert len(downloads) == len(installs) == 1
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(downloads[0].split())
    assert "--no-index" in installs[0].split()


def test_all_requirements_files_have_the_same_versions():
    core, extras, dev = pins("requirements.txt"), pins("requirements-extras.txt"), pins("requirements-dev.txt")

    assert core.items() <= extras.items()
    assert extras.items() <= dev.items()


def test_the_requirements_for_extras_contain_every_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    required = {name: packages(requirements) for name, requirements in extras.items() if name not in BUILD_ONLY}

    assert {"redis", "grpc", "auth"} <= set(required)
    pinned = set(pins("requirements-extras.txt"))
    assert {name: names - pinned for name, names in required.items() if names - pinned} == {}


def test_the_build_context_contains_exactly_the_files_that_are_copied():
    ignored, *allowed = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] in "*!"]
    copied = {name for text in texts("COPY") if not text.startswith("--from") for name in text.split()[:-1]}

    assert ignored == "*"
    assert copied == {line.removeprefix("!") for line in allowed if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
