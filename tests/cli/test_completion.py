"""Completion in a real shell: what TAB types."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import commands
import pytest
from support import PATIENCE

from exporter.cli.completion import SHELLS

CHECKS = "checks: [{name: api, memory: {}}, {name: database, memory: {}}]\n"
PROGRAM = f"""\
#!/bin/sh
if [ "$_HEALTH_EXPORTER_COMPLETE$1" = completion ] || [ "$_HEALTH_EXPORTER_COMPLETE" ]; then
    exec {sys.executable} -m exporter "$@"
fi
printf '<%s>' health-exporter "$@"
"""
"""The exporter if it completes; otherwise it prints its words."""


class Bash:
    """An interactive bash on a terminal, in which the completion is loaded."""

    def __init__(self, folder: Path) -> None:
        program = folder / "bin" / "health-exporter"
        program.parent.mkdir()
        program.write_text(PROGRAM)
        program.chmod(0o755)
        env = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "PS1": "", "TERM": "dumb"}
        self._controller, terminal = pty.openpty()
        self._child = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=folder,
            env=env,
            start_new_session=True,
        )
        os.close(terminal)
        self._seen = ""
        (folder / "health.yml").write_text(CHECKS)
        self._send("bind 'set bell-style none'; source <(health-exporter completion bash); echo rea''dy\n")
        self._read_until("ready\r\n")

    def _send(self, text: str) -> None:
        os.write(self._controller, text.encode())

    def _read_until(self, text: str) -> str:
        while text not in self._seen:
            self._seen += os.read(self._controller, 65536).decode()
        before, self._seen = self._seen.split(text, 1)
        return before

    def complete(self, line: str) -> list[str]:
        """Return the words of the line after TAB, as bash passes them to the command, and a last word `END`."""
        self._send(f"{line}\tEND\n")
        self._read_until("<health-exporter>")
        return [word.strip("<>") for word in f"{self._read_until('END>')}END".split("><")]

    def close(self) -> None:
        self._child.kill()
        self._child.wait(PATIENCE)
        os.close(self._controller)


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bash]:
    shell = Bash(tmp_path_factory.mktemp("bash"))
    yield shell
    shell.close()


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("che", "check END"),
        ("check --config.file hea", "check --config.file health.yml END"),
        ("check --format=js", "check --format=json END"),
    ],
)
def test_tab_completes_in_bash(bash, line, completed):
    assert bash.complete(f"health-exporter {line}") == completed.split()


def complete(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """What the exporter prints for the script of bash."""
    words = line.split(" ")
    env = {"COMP_WORDS": f"health-exporter {line}", "COMP_CWORD": str(len(words))}
    return commands.run(env={"_HEALTH_EXPORTER_COMPLETE": "bash_complete", **env}, cwd=folder)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("check --config.f", "--config.file"),
        ("check --format j", "json junit"),
        ("check --name ", "load memory disk"),
        ("check health.yml --name da", "database"),
        ("check --config.file health.yml --name ", "api database"),
        ("ask re", "readyz"),
        ("kinds ht", "httpGet"),
        ("kinds httpGet.jsonPath.", "httpGet.jsonPath.path httpGet.jsonPath.equals"),
    ],
)
def test_words_are_completed(tmp_path, line, words):
    (tmp_path / "health.yml").write_text(CHECKS)
    completed = complete(line, tmp_path)

    assert (completed.returncode, completed.stderr) == (0, "")
    assert completed.stdout.split()[: len(words.split())] == [f"plain,{word}" for word in words.split()]


@pytest.mark.parametrize("option", ["check --config.file ", "check --output ", "ask livez --ca-file "])
def test_files_are_completed_by_the_shell(tmp_path, option):
    assert complete(option, tmp_path).stdout.strip() == "file,"


@pytest.mark.parametrize("line", ["nonsense ", "check --config.file bad.yml --name "])
def test_no_error_is_printed_over_the_prompt(tmp_path, line):
    (tmp_path / "bad.yml").write_text("checks: [")

    assert complete(line, tmp_path).stderr == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_are_printed(shell):
    printed = commands.run("completion", shell)

    assert (printed.returncode, printed.stderr) == (0, "")
    assert f"_HEALTH_EXPORTER_COMPLETE={shell}_complete" in printed.stdout


def test_another_shell_is_refused():
    refused = commands.run("completion", "tcsh")

    assert refused.returncode == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in refused.stderr
