"""`check`: its formats, and how it ends."""

import stat
from pathlib import Path

import commands
import pytest
from support import eventually

CHECKS = """\
checks:
  - {name: fine, memory: {failRatio: 2}, timeoutSeconds: 10}
  - {name: warns, memory: {warnRatio: 0.000001, failRatio: 2}, groups: [liveness], timeoutSeconds: 10}
  - {name: blind, exec: {command: [/nonexistent]}, groups: [startup], timeoutSeconds: 10}
  - {name: fails, memory: {failRatio: 0.000001}, groups: [], timeoutSeconds: 10}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "health.yml").write_text(CHECKS)
    return tmp_path / "health.yml"


@pytest.mark.parametrize(
    ("arguments", "code", "begin"),
    [
        (["--group", "readiness"], 0, "HEALTH OK - 1 check, all pass | 'fine_memory_used_ratio'=0."),
        (["--group", "liveness"], 1, "HEALTH WARNING - 1 warn of 1 check: warns (threshold): "),
        ([], 2, "HEALTH CRITICAL - 1 fail, 1 unknown, 1 warn of 4 checks: "),
        (
            ["--name", "blind"],
            3,
            "HEALTH UNKNOWN - 1 unknown of 1 check: blind (missing): /nonexistent: no such command",
        ),
        (["--name", "nope"], 3, "HEALTH UNKNOWN - no such check: nope; the checks are: "),
        (["--config.file", "/none.yml"], 3, "HEALTH UNKNOWN - FILE and --config.file name two files, "),
    ],
    ids=str,
)
def test_nagios(config, arguments, code, begin):
    done = commands.run("check", config, "--format", "nagios", *arguments)

    assert done.returncode == code
    assert done.stdout.startswith(begin)
    assert done.stdout.count("\n") == 1


def test_a_plugin_with_an_invalid_option_is_unknown_too(config):
    for refused in (
        commands.run("check", config, "--format=nagios", "--nonsense"),
        commands.run("check", config, "--nonsense", env={"HEALTH_EXPORTER_CHECK_FORMAT": "nagios"}),
    ):
        assert (refused.returncode, refused.stdout) == (3, "HEALTH UNKNOWN - No such option '--nonsense'.\n")
    assert commands.run("check", config, "--nonsense").returncode == 2


@pytest.mark.parametrize(
    ("form", "begin"),
    [
        ("junit", '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>'),
        ("prometheus", "# HELP health_check_up "),
        ("tap", "TAP version 13\n1..4\n"),
        ("json", '{\n  "generation": '),
    ],
)
def test_other_formats(config, form, begin):
    done = commands.run("check", config, "--format", form)

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(begin)


@pytest.mark.parametrize(
    ("arguments", "groups"),
    [([], "liveness readiness startup all"), (["--group", "startup"], "startup"), (["--name", "fine"], "")],
    ids=str,
)
def test_the_textfile_has_the_verdict_of_a_group_only_if_all_its_checks_ran(config, arguments, groups):
    text = commands.run("check", config, "--format", "prometheus", *arguments).stdout

    assert {line.split('"')[1] for line in text.splitlines() if line.startswith("health_group_up")} == {*groups.split()}


def test_output_goes_to_a_file_that_others_may_read(config, tmp_path):
    target = tmp_path / "health.prom"
    link = tmp_path / "link.prom"
    link.symlink_to(target)
    target.write_text("old")
    target.chmod(0o600)
    done = commands.run("check", config, "--format", "prometheus", "--output", link)

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert target.read_text().startswith("# HELP")
    assert target.read_text().endswith("\n")
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(config.stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["health.prom", "health.yml", "link.prom"]


def test_a_report_in_a_file_has_no_colors(config, tmp_path):
    commands.run("check", config, "--output", tmp_path / "report.txt", env={"FORCE_COLOR": "1"})

    assert "\nverdict: fail " in (tmp_path / "report.txt").read_text()
    assert "\x1b" not in (tmp_path / "report.txt").read_text()


def test_a_device_is_written_to_and_not_replaced(config):
    assert commands.run("check", config, "--name", "fine", "--output", "/dev/null").returncode == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/none/x", "No such file or directory"),
        ("/dev/full", "No space left on device"),
        ("/", "Is a directory"),
    ],
)
def test_output_that_cannot_be_written_is_an_error(config, path, error):
    done = commands.run("check", config, "--name", "fine", "--output", path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{path}: cannot be written: {error}\n"


def test_fail_fast_does_not_wait_for_the_others_and_ends_their_commands(tmp_path):
    (tmp_path / "health.yml").write_text(
        """\
        checks:
          - {name: slow, exec: {command: [sh, -c, "echo $$$$ > pid; exec sleep 1000"]}, timeoutSeconds: 1000}
          - {name: fails, exec: {command: [sh, -c, "until [ -s pid ]; do sleep 0.1; done; exit 1"]}, timeoutSeconds: 9}
        """
    )
    done = commands.run("check", "--fail-fast", "health.yml", cwd=tmp_path)
    pid = int((tmp_path / "pid").read_text())

    assert (done.returncode, done.stderr) == (1, "--fail-fast: 1 more check has not ended\n")
    assert done.stdout.startswith("FAIL  fails  exec  exit ")
    assert done.stdout.endswith("verdict: fail (1 fail of 1 check)\n")
    eventually(lambda: not Path(f"/proc/{pid}").exists())
