"""What the Dockerfile says, read without building it."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from exporter import __version__
from exporter.ask import plainly
from exporter.cli import DEFAULT_ADDRESS

ROOT = Path(__file__).parents[2]
BUILD_ONLY = {"build", "dev"}
"""Extras that are for us and not for those who use the exporter."""


def instructions() -> list[tuple[str, str]]:
    """Each instruction's name and its text in one line."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(name, text) for name, _, text in (line.partition(" ") for line in whole) if name]


def texts(name: str) -> list[str]:
    return [text for each, text in instructions() if each == name]


def pins(name: str) -> dict[str, str]:
    """A lock file's packages, and all that it says of each."""
    found = re.findall(
        r"^([a-z0-9-]+)==(\S+ \\\n(?:    --hash=\S+(?: \\)?\n)+)", (ROOT / name).read_text(), re.MULTILINE
    )
    assert len(found) == (ROOT / name).read_text().count("==")
    return dict(found)


def packages(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", each)[0].lower().replace("_", "-") for each in requirements}


def test_hadolint_has_nothing_to_say():
    said = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60
    )

    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_every_stage_stands_on_the_base_that_is_given_and_no_registry_is_named():
    assert instructions()[0] == ("ARG", "BASE=python:3.13-slim")
    assert texts("FROM") == ["${BASE} AS build", "${BASE}"]
    assert "://" not in (ROOT / "Dockerfile").read_text()


def test_the_label_of_the_version_is_the_package_s():
    assert f"VERSION={__version__}" in texts("ARG")


@pytest.mark.parametrize("name", ["ENTRYPOINT", "CMD", "HEALTHCHECK"])
def test_what_runs_needs_no_shell(name):
    (text,) = texts(name)

    assert all(isinstance(word, str) for word in json.loads(text[text.index("[") :]))


def test_the_healthcheck_asks_what_can_be_asked():
    (text,) = texts("HEALTHCHECK")
    program, command, *words = json.loads(text[text.index("[") :])

    assert (program, command) == ("health-exporter", "ask")
    assert plainly(words) == ("exporter", "http://127.0.0.1:4584", 1)


def test_the_port_is_the_one_that_is_served():
    assert texts("EXPOSE") == [DEFAULT_ADDRESS.removeprefix(":")]


def test_the_user_is_a_number_and_not_root():
    (user,) = texts("USER")

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_every_package_is_checked_by_its_hash():
    runs = " ".join(texts("RUN"))
    fetched, installed = re.findall(r"pip download [^&]*", runs), re.findall(r"pip [^&]*\binstall [^&]*", runs)

    assert len(fetched) == len(installed) == 1
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(fetched[0].split())
    assert "--no-index" in installed[0].split()


def test_the_list_with_extras_has_the_same_versions_as_the_others():
    core, extras, dev = pins("requirements.txt"), pins("requirements-extras.txt"), pins("requirements-dev.txt")

    assert core.items() <= extras.items()
    assert extras.items() <= dev.items()


def test_the_list_with_extras_has_every_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {name: packages(needed) for name, needed in extras.items() if name not in BUILD_ONLY}

    assert {"redis", "grpc", "auth"} <= set(wanted)
    assert {name for name, needed in wanted.items() if needed - set(pins("requirements-extras.txt"))} == set()


def test_the_image_is_made_of_files_that_the_context_has():
    ignored, *allowed = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] in "*!"]
    copied = {name for text in texts("COPY") if not text.startswith("--from") for name in text.split()[:-1]}

    assert ignored == "*"
    assert copied == {line.removeprefix("!") for line in allowed if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
