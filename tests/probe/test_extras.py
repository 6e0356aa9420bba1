"""The error about a missing extra has a command that works where it is printed."""

import shlex
import subprocess
import sys
import tomllib
from importlib import metadata, util
from pathlib import Path

import pytest

from exporter.probe.extras import list_packages, require

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
EXTRAS = {name: packages for name, packages in PROJECT["optional-dependencies"].items() if name not in ("dev", "build")}


def explain(extra: str) -> str:
    """The error for this extra, from the word before the command on."""
    with pytest.raises(ValueError, match=f"requires the extra {extra}") as raised:
        require("no_such_module", extra)
    return str(raised.value).partition(": ")[2]


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_installed_exporter_knows_the_packages_of_its_extras(extra):
    assert list_packages(extra) == EXTRAS[extra]


def test_pip_accepts_the_command():
    """One command for all extras: each start of pip takes a second. Here, all packages are installed."""
    commands = [shlex.split(explain(extra).removeprefix("run ")) for extra in EXTRAS]
    python, *command = commands[0][:4]
    packages = [package for words in commands for package in words[4:]]
    options = ["--no-index", "--no-input", "--disable-pip-version-check", "--dry-run"]
    done = subprocess.run([python, *command, *options, *packages], capture_output=True, text=True)

    assert python == sys.executable
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Requirement already satisfied") >= len(packages)


def test_without_pip_the_error_names_the_argument_of_the_image(monkeypatch):
    monkeypatch.setattr(util, "find_spec", lambda _name: None)

    assert explain("redis") == "build the image with --build-arg EXTRAS=redis"


def test_a_server_that_has_loaded_python_is_not_the_interpreter(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/usr/bin/uwsgi")

    assert explain("redis") == f"run {sys.prefix}/bin/python3 -m pip install 'redis>=8'"


def test_the_extra_of_a_plugin_has_no_command(monkeypatch):
    def raise_error(_name):
        raise metadata.PackageNotFoundError

    assert explain("dice") == "install it"
    monkeypatch.setattr(metadata, "requires", raise_error)
    assert explain("redis") == "install it"
