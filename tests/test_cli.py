"""The command line: exit codes mean what the documentation says, whatever goes wrong."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import click
import commands
import pytest
from support import PATIENCE, Process, ended, eventually, free_port
from terminals import on_a_terminal, terminal

from exporter import __version__

HERE = Path(__file__).parent
LIMIT = 5 * PATIENCE  # seconds that a command may take before the test gives it up
COMMANDS = (
    "serve",
    "check",
    "ask",
    "explain",
    "hold",
    "replay",
    "validate",
    "inject",
    "uninject",
    "convert",
    "schema",
    "kinds",
    "completion",
)
WELL = "checks:\n  - {name: well, exec: {command: ['true']}, groups: [liveness, readiness], timeoutSeconds: 10}\n"
ILL = "checks:\n  - {name: ill, exec: {command: ['false']}, groups: [liveness, readiness], timeoutSeconds: 10}\n"


def call(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `serve` as a process, and any other command in this one."""
    return (spawn if arguments[:1] == ("serve",) and "--help" not in arguments else commands.run)(*arguments, **options)


def spawn(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the exporter as a process until it ends.

    `serve` gets a free port, because the default may be taken, and is strict, because it would run on otherwise.
    """
    if arguments[:1] == ("serve",) and "--web.listen-address" not in arguments:
        arguments = ("serve", "--web.listen-address", "127.0.0.1:0", "--config.strict", *arguments[1:])
    env = {**os.environ, **options.pop("env", {})}
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
    return subprocess.run(
        [sys.executable, "-m", "exporter", *map(str, arguments)], text=True, timeout=LIMIT, env=env, **given
    )


def shell(script: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The exporter in a line of a shell, as `$exporter`."""
    env = {**os.environ, "exporter": f"{sys.executable} -m exporter", **options.pop("env", {})}
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=LIMIT, env=env, cwd=options.pop("cwd", None)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "well.yml").write_text(WELL)
    (tmp_path / "ill.yml").write_text(ILL)
    (tmp_path / "bad.yml").write_text("checks:\n  - {name: a b}\n")
    return tmp_path


def text(folder: Path, content: str) -> Path:
    (folder / "health.yml").write_text(dedent(content))
    return folder / "health.yml"


# Help


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_explains_itself_to_people_on_a_terminal_of_80_columns(command):
    helped = call(*command.split(), "--help")

    assert (helped.returncode, helped.stderr) == (0, "")
    assert helped.stdout.startswith(f"Usage: health-exporter {command}".rstrip())
    assert max(map(len, helped.stdout.splitlines())) <= 100
    assert "health-exporter" in helped.stdout.partition("\n")[2], "there is an example"


@pytest.mark.parametrize("command", ["serve", "check", "ask", "explain", "validate", "inject", "uninject", "convert"])
def test_the_help_tells_the_exit_codes(command):
    assert "Exit codes:\n" in call(command, "--help").stdout


def test_every_option_has_its_help():
    from click import Option

    from exporter.cli.main import cli

    for command in commands.load_commands(cli).values():
        for option in command.params:
            assert not isinstance(option, Option) or option.help, f"{command.name} {option.name}"


def test_the_commands_are_listed_in_full_and_in_the_order_of_their_use():
    listed = call("--help").stdout.partition("Commands:\n")[2].splitlines()

    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert not [line for line in listed if line.endswith("...")]


def test_the_version():
    assert call("--version").stdout == f"health-exporter, version {__version__}\n"


# Usage


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Usage: health-exporter"),
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["--nonsense"], 2, "No such option"),
        (["check", "health.yml", "extra"], 2, "unexpected extra argument"),
        (["check", "--group", "live"], 2, "'live' is not one of 'liveness', 'readiness', 'startup', 'all'"),
        (["check", "--format", "xml"], 2, "'xml' is not one of 'text', 'json'"),
        (["check", "--config.file"], 2, "requires an argument"),
        (["validate"], 2, "Missing argument 'FILE'"),
        (["validate", "a", "b"], 2, "unexpected extra argument"),
        (["schema", "x"], 2, "unexpected extra argument"),
        (["serve", "--shutdown-delay", "-1"], 2, "-1.0 is not in the range x>=0"),
        (["serve", "--shutdown-delay", "inf"], 2, "inf is not a finite number of seconds"),
        (["serve", "--shutdown-delay", "nan"], 2, "nan is not a finite number of seconds"),
        (["serve", "--log.level", "loud"], 2, "'loud' is not one of"),
        (["serve", "--web.listen-address", "nowhere"], 2, "nowhere: not an address; write HOST:PORT or :PORT"),
        (["serve", "--web.listen-address", ":4584\u200b"], 2, ":4584\\u200b: not an address; write HOST:PORT or :PORT"),
        (["ask"], 3, "Missing argument"),
        (["ask", "health"], 3, "'health' is not one of 'livez', 'readyz', 'startupz', 'healthz'"),
        (["ask", "livez", "--timeout", "0"], 3, "the timeout must be greater than 0 and at most 86400 seconds"),
        (["ask", "livez", "--timeout", "0", "--"], 3, "0.0 is not in the range 0<x<=86400"),
        (["ask", "livez", "--timeout", "soon"], 3, "'soon' is not a number of seconds, such as 30, 30s or 5m"),
        (["ask", "livez", "--url", "nowhere"], 3, "the URL of an exporter is http://HOST:PORT"),
        (["--nonsense", "ask", "livez"], 3, "No such option"),
    ],
    ids=lambda each: " ".join(each) or "nothing" if isinstance(each, list) else "",
)
def test_a_wrong_command_line_is_told_of(arguments, code, said):
    refused = call(*arguments)

    assert (refused.returncode, refused.stdout) == (code, "")
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


# validate, and configurations that cannot be used


def cpu() -> float:
    """CPU seconds of this process and its children that have ended: unlike elapsed time, the same on a busy machine."""
    return sum(os.times()[:4])


def hostile(folder: Path, name: str) -> Path:
    """A file that must not cost the parser much."""
    contents = {
        "10-megabytes": b"# long\n" * (10 * 2**20 // 7),
        "zeros": b"\0" * 3 * 2**20,
        "binary": bytes(range(256)) * 4096,
        "brackets": b"checks: " + b"[" * 100_000,
        "braces": b"checks: " + b"{a: " * 100_000,
        "dashes": b"- " * 100_000,
        "alias-bomb": b"a0: &a0 [x, x]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n + 1, n + 1, b", ".join([b"*a%d" % n] * 9)) for n in range(15)),
        "merge-bomb": b"a0: &a0 {x: y}\n"
        + b"".join(b"a%d: &a%d {<<: [%s]}\n" % (n + 1, n + 1, b", ".join([b"*a%d" % n] * 9)) for n in range(15)),
        "one-word": b"x" * 3 * 2**20,
        "keys": b"".join(b"k%d: 1\n" % n for n in range(5_000)),
        "quotes": b'checks: "' + b"\\n" * 2**20,
    }
    path = folder / f"{name}.yml"
    path.write_bytes(contents[name])
    return path


HOSTILE = (
    *("10-megabytes", "zeros", "binary", "brackets", "braces", "dashes"),
    *("alias-bomb", "merge-bomb", "one-word", "keys", "quotes"),
)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        *(("validate", name) for name in HOSTILE),
        *(("serve", name) for name in HOSTILE[:1] + HOSTILE[3:4] + HOSTILE[6:7]),
    ],
)
def test_a_hostile_file_is_refused_with_little_cpu(tmp_path, name, command):
    path = hostile(tmp_path, name)
    before = cpu()
    refused = call(command, *(() if command == "validate" else ("--config.file",)), path)
    used = cpu() - before

    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Traceback" not in refused.stderr
    for line in refused.stderr.splitlines():
        assert line.startswith(f"{path}:"), line
    assert len(refused.stderr.splitlines()) == (5_001 if name == "keys" else 1)
    assert used < 5  # about half a second, most of it for imports


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "bad.yml"],
        ["check", "--config.file", "bad.yml"],
        ["serve", "--config.file", "bad.yml"],
    ],
    ids=lambda each: each[0],
)
def test_every_complaint_is_a_line_on_standard_error(folder, arguments):
    refused = call(*arguments, cwd=folder)

    assert (refused.returncode, refused.stdout) == (2, "")
    name, kind = refused.stderr.splitlines()
    assert name.startswith("bad.yml:2: checks[0].name: must be letters, digits")
    assert kind.startswith("bad.yml:2: checks[0]: has no kind")


@pytest.mark.parametrize("command", ["validate", "check", "serve"])
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("none.yml", "cannot be read: No such file or directory"),
        ("empty", "cannot be read: the folder has no *.yml or *.yaml files"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_of(folder, command, path, said):
    (folder / "empty").mkdir()
    refused = call(command, *(() if command == "validate" else ("--config.file",)), path, cwd=folder)

    assert refused.returncode == 2
    assert refused.stderr == f"{path}: {said}\n"


@pytest.mark.parametrize("command", ["validate", "check", "serve"])
def test_an_empty_path_is_not_the_current_folder(folder, command):
    """As `--config.file "$CONFIG"` without the variable."""
    text(folder, "checks: [{name: m, memory: {}}]\n")
    refused = call(command, "--config.file", "", cwd=folder)

    assert refused.returncode == 2
    assert "The path is empty." in refused.stderr


def test_validate_says_that_a_file_is_valid(folder):
    text(folder, "checks: [{name: m, memory: {}}]\n")
    valid = call("validate", "health.yml", cwd=folder)

    assert (valid.returncode, valid.stdout, valid.stderr) == (0, "health.yml: valid, 1 check\n", "")


def test_validate_gives_advice_and_exits_with_0(folder):
    config = text(
        folder, "checks:\n  - {name: load, loadAverage: {}, groups: [liveness, startup]}\n  - {name: m, memory: {}}\n"
    )
    advised = call("validate", config)
    stricter = call("validate", config, "--scrape-interval", "60")

    assert (advised.returncode, advised.stderr) == (0, "")
    assert advised.stdout == (
        f"{config}:2: checks[0].groups: liveness restarts the application, and the load average is the whole "
        "machine's; a restart cannot reduce load that other processes cause (advice)\n"
        f"{config}: valid, 2 checks\n"
    )
    assert stricter.returncode == 0
    assert len(stricter.stdout.splitlines()) == 3


def test_the_schema_is_json():
    described = call("schema")

    assert (described.returncode, described.stderr) == (0, "")
    assert json.loads(described.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


# check


def test_check_reports_and_its_exit_code_is_the_verdict(folder):
    well, ill = (call("check", "--config.file", folder / f"{name}.yml") for name in ("well", "ill"))

    assert (well.returncode, well.stderr) == (0, "")
    assert re.fullmatch(
        r"PASS  well  exec {5,9}[0-9.]+ ms  true exited with 0\n\nverdict: pass \(1 check, all pass\)\n", well.stdout
    )
    assert (ill.returncode, ill.stderr) == (1, "")
    assert re.fullmatch(
        r"FAIL  ill  exec  exit +[0-9.]+ ms  false exited with 1\n\nverdict: fail \(1 fail of 1 check\)\n", ill.stdout
    )


def test_check_without_a_file_looks_at_this_machine():
    looked = call("check", "--format", "json")

    assert looked.returncode in (0, 1)
    assert [check["name"] for check in json.loads(looked.stdout)["checks"]] == ["load", "memory", "disk"]


MANY = """\
    checks:
      - {name: live, exec: {command: ["true"]}, groups: [liveness], timeoutSeconds: 10}
      - {name: ready, exec: {command: ["false"]}, groups: [readiness], timeoutSeconds: 10}
      - {name: blind, exec: {command: [/nonexistent]}, groups: [liveness, startup], timeoutSeconds: 10}
      - {name: spare, exec: {command: ["false"]}, groups: [], timeoutSeconds: 10}
"""


@pytest.mark.parametrize(
    ("arguments", "code", "status", "names"),
    [
        ([], 1, "fail", ["live", "ready", "blind", "spare"]),
        (["--group", "all"], 1, "fail", ["live", "ready", "blind", "spare"]),
        (["--group", "liveness"], 0, "pass", ["live", "blind"]),
        (["--group", "readiness"], 1, "fail", ["ready"]),
        (["--group", "startup"], 1, "fail", ["blind"]),
        (["--name", "live"], 0, "pass", ["live"]),
        (["--name", "spare", "--name", "live"], 1, "fail", ["live", "spare"]),
        (["--name", "blind"], 1, "fail", ["blind"]),
        (["--name", "blind", "--group", "liveness"], 0, "pass", ["blind"]),
    ],
    ids=lambda each: " ".join(each) or "everything" if isinstance(each, list) else "",
)
def test_check_looks_at_what_is_asked_for(folder, arguments, code, status, names):
    looked = call("check", "--config.file", text(folder, MANY), "--format", "json", *arguments)
    report = json.loads(looked.stdout)

    assert (looked.returncode, looked.stderr) == (code, "")
    assert (report["status"], [check["name"] for check in report["checks"]]) == (status, names)


def test_a_group_without_checks_is_well(folder):
    looked = call("check", "--config.file", folder / "well.yml", "--group", "startup")

    assert (looked.returncode, looked.stdout) == (0, "startup: pass (no checks)\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--name", "nope"], "no such check: nope; the checks are: live, ready, blind, spare\n"),
        (
            ["--name", "b", "--name", "live", "--name", "a"],
            "no such check: a, b; the checks are: live, ready, blind, spare\n",
        ),
        (
            ["--name", "ready", "--group", "startup"],
            "no such check in the group startup: ready; the checks are: blind\n",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_names_there_are(folder, arguments, said):
    refused = call("check", "--config.file", text(folder, MANY), *arguments)

    assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", said)


def test_the_json_of_check_has_exactly_the_documented_keys(folder):
    config = text(
        folder, f"checks:\n  - {{name: m, memory: {{}}}}\n  - {{name: p, tcpSocket: {{port: {free_port()}}}}}\n"
    )
    report = json.loads(call("check", "--config.file", config, "--format", "json").stdout)

    assert list(report) == ["generation", "status", "checks"]
    for check in report["checks"]:
        assert list(check) == ["name", "kind", "status", "reason", "summary", "durationSeconds", "measurements"]
    memory, port = report["checks"]
    assert (memory["status"], memory["reason"]) == ("pass", None)
    assert set(memory["measurements"]) >= {"memory_used_ratio"}
    assert (port["status"], port["reason"], port["measurements"]) == ("fail", "connect", {})
    assert port["durationSeconds"] > 0


def kind(folder: Path, name: str, code: str) -> dict[str, str]:
    """An environment with one more file in `kinds/`."""
    (folder / "kinds").mkdir(exist_ok=True)
    (folder / "kinds" / f"{name}.py").write_text(dedent(code))
    (folder / "sitecustomize.py").write_text(
        f"import exporter.kinds\nexporter.kinds.__path__.append({str(folder / 'kinds')!r})\n"
    )
    return {"PYTHONPATH": str(folder)}


NEVER_ENDS = """\
    import time
    from exporter.probe.check import Probe
    from exporter.model import Deadline, Outcome

    class NeverEnds(Probe):
        def probe(self, deadline: Deadline) -> Outcome:
            time.sleep(1000)
            return Outcome.passed("well")
"""


def test_a_probe_that_outlasts_its_timeout_keeps_no_report(folder):
    env = kind(folder, "never_ends", NEVER_ENDS)
    config = text(
        folder,
        """\
        checks:
          - {name: hangs, neverEnds: {}}
          - {name: well, exec: {command: ["true"]}, timeoutSeconds: 3}
        """,
    )
    looked = spawn("check", "--config.file", config, "--format", "json", env=env)
    hangs, well = json.loads(looked.stdout)["checks"]

    assert looked.returncode == 1
    assert (hangs["status"], hangs["reason"], hangs["summary"]) == ("unknown", "pending", "did not end in time")
    assert well["status"] == "pass"


def test_many_checks_run_at_the_same_time(folder):
    """None of them ends before all have started: each waits for a file that the test then creates."""
    options = "exec: {command: [sh, -c, 'mktemp begun.XXXX; until [ -e go ]; do sleep 0.2; done']}, timeoutSeconds: 100"
    waiters = "".join(f"  - {{name: c{number}, {options}}}\n" for number in range(32))
    config = text(folder, f"checks:\n{waiters}")
    with ended(Process([sys.executable, "-m", "exporter", "check", "--config.file", str(config)], cwd=folder)) as check:
        eventually(lambda: len(list(folder.glob("begun.*"))) == 32, what="32 checks run")
        (folder / "go").touch()
        code = check.wait()

    assert (code, sum("PASS" in line for line in check.lines)) == (0, 32)


@pytest.mark.parametrize("kind", ["disk: {}", "exec: {command: ['true']}"])
def test_the_longest_timeout_there_can_be_is_one(folder, kind):
    """The C library waits for milliseconds in 32 bits, and Kubernetes allows seconds in 32 bits."""
    looked = call(
        "check", "--config.file", text(folder, f"checks:\n  - {{name: a, timeoutSeconds: 2147483647, {kind}}}\n")
    )

    assert (looked.returncode, looked.stdout[:4]) == (0, "PASS")


# What breaks inside


def stub(folder: Path, module: str, code: str) -> dict[str, str]:
    """An environment in which this is the code of a module."""
    (folder / "stubs").mkdir()
    (folder / "stubs" / f"{module}.py").write_text(code)
    return {"PYTHONPATH": str(folder / "stubs")}


BROKEN = "checks: [{name: a, broken: {}}]\n"
CRASHES = (
    "RuntimeError('broken')",
    "SystemExit(0)",
    "SystemExit(1)",
    "MemoryError",
)


@pytest.mark.parametrize("error", CRASHES)
def test_a_crash_is_never_a_verdict(folder, error):
    """A kind's file that breaks while it is imported: a command with a check of that kind ends with 2."""
    env = kind(folder, "broken", f"raise {error}\n")
    crashed = spawn("check", "--config.file", text(folder, BROKEN), env=env)

    assert crashed.returncode == 2
    assert "broken.py" in crashed.stderr


EXITS = ("SystemExit(1)", "SystemExit(0)")


@pytest.mark.parametrize(
    ("module", "error"),
    [
        *((module, "ImportError('stub')") for module in ("yaml", "pydantic", "click", "socket")),
        *(("yaml", error) for error in EXITS),
        *(("click", error) for error in EXITS),
    ],
)
def test_a_broken_dependency_is_never_a_verdict(folder, module, error):
    crashed = spawn("check", "--config.file", folder / "well.yml", env=stub(folder, module, f"raise {error}\n"))

    assert crashed.returncode == 2
    assert f"{module}.py" in crashed.stderr


def test_a_broken_requests_affects_only_promql(folder):
    """It is imported when a promql check runs."""
    config = folder / "promql.yml"
    config.write_text(
        f"{(folder / 'well.yml').read_text()}  - name: query\n    promql: {{url: http://127.0.0.1:1, query: up}}\n"
    )

    report = spawn("check", "--config.file", config, env=stub(folder, "requests", "raise ImportError('stub')\n"))

    assert re.search(
        r"^UNKNOWN +query +promql +error .*ImportError: stub \(requests\.py:1\)$", report.stdout, re.MULTILINE
    )
    assert re.search(r"^PASS +well ", report.stdout, re.MULTILINE)
    assert report.returncode == 1


@pytest.mark.parametrize("module", ["h11", "prometheus_client"])
def test_a_broken_dependency_of_the_server_stops_its_start(folder, module):
    crashed = call("serve", "--web.listen-address", "127.0.0.1:0", env=stub(folder, module, "raise ImportError\n"))

    assert crashed.returncode == 2
    assert f"{module}.py" in crashed.stderr


@pytest.mark.parametrize(
    ("module", "error"),
    [
        *((module, "ImportError('stub')") for module in ("json", "socket", "threading", "urllib")),
        *(("json", error) for error in EXITS),
    ],
)
def test_a_broken_installation_is_no_verdict_of_ask(folder, module, error):
    crashed = spawn("ask", "livez", env=stub(folder, module, f"raise {error}\n"))

    assert crashed.returncode == 3
    assert f"{module}.py" in crashed.stderr


# Where the output goes


CLOSED = {
    "nobody reads": "{} | head -c 0; exit ${{PIPESTATUS[0]}}",
    "a full disk": "{} >/dev/full",
    "standard output is closed": "{} >&-",
    "standard error is closed": "{} 2>&-",
    "both are closed": "{} >&- 2>&-",
    "all three are closed": "{} <&- >&- 2>&-",
    "standard error is full": "{} 2>/dev/full",
    "both are full": "{} >/dev/full 2>/dev/full",
}


FAILING, ASKING = "check --config.file ill.yml", "ask livez --url http://127.0.0.1:1"
OTHERS = {
    "check --config.file well.yml": 0,
    "check --config.file ill.yml --format json": 1,
    "check --config.file bad.yml": 2,
    "validate well.yml": 0,
    "validate bad.yml": 2,
    "schema": 0,
    "ask livez --url nowhere": 3,
}


@pytest.mark.parametrize(
    ("command", "code", "where"),
    [
        *((FAILING, 1, where) for where in CLOSED),
        *((ASKING, 3, where) for where in CLOSED),
        *((command, code, "both are full") for command, code in OTHERS.items()),
    ],
)
def test_the_exit_code_stands_even_if_nobody_reads(folder, command, code, where):
    assert shell(CLOSED[where].format(f"$exporter {command}"), cwd=folder).returncode == code


@pytest.mark.parametrize("where", ["nobody reads", "standard error is closed", "both are full", "all three are closed"])
def test_a_crash_is_no_verdict_even_if_nobody_reads(folder, where):
    env = kind(folder, "broken", "raise RuntimeError\n")
    text(folder, BROKEN)

    assert shell(CLOSED[where].format("$exporter check --config.file health.yml"), cwd=folder, env=env).returncode == 2


@pytest.mark.parametrize("arguments", ["--help", "--version", "check --help"])
def test_help_that_nobody_reads_is_no_verdict(arguments):
    assert shell(f"$exporter {arguments} >/dev/full").returncode in (0, 2)


def test_what_could_not_be_written_is_told_of(folder):
    told = shell("$exporter check --config.file ill.yml >/dev/full", cwd=folder)

    assert told.stderr == "the report could not be written: No space left on device\n"


def test_a_stream_of_another_encoding_takes_every_report(folder):
    config = text(folder, "checks:\n  - {name: a, exec: {command: [echo, zoë ☃]}, timeoutSeconds: 10}\n")
    looked = spawn("check", "--config.file", config, env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})

    assert looked.returncode == 0
    assert r"zo\xeb \u2603" in looked.stdout


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_check_is_no_verdict(folder, number):
    """The exit code is 130, or the signal itself, and the process ends while the check is still running."""
    marker = folder / "started"
    config = text(
        folder,
        f"checks:\n  - {{name: slow, exec: {{command: [sh, -c, 'touch {marker}; sleep 100']}}, timeoutSeconds: 100}}\n",
    )
    with ended(Process([sys.executable, "-m", "exporter", "check", "--config.file", str(config)])) as process:
        eventually(marker.exists)
        process.signal(number)
        code = process.wait()

    assert code == (130 if number == signal.SIGINT else -signal.SIGTERM)
    assert "Traceback" not in "\n".join(process.lines)


# A terminal


def test_a_report_on_a_terminal_has_colours(folder):
    code, seen = on_a_terminal("check", "--config.file", folder / "ill.yml")

    assert code == 1
    assert seen.startswith("\x1b[1;31mFAIL\x1b[0m  ill  exec  exit")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=" ".join)
def test_a_report_has_no_colours_where_none_are_wanted(folder, env):
    code, seen = on_a_terminal("check", "--config.file", folder / "ill.yml", **env)

    assert code == 1
    assert seen.startswith("FAIL  ill  exec  exit")


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "CLICOLOR_FORCE"])
def test_colours_can_be_forced_in_a_pipe(folder, variable):
    assert "\x1b[32m" in call("check", folder / "well.yml", env={variable: "1"}).stdout
    for env in ({variable: "0"}, {variable: ""}, {variable: "1", "NO_COLOR": "1"}):
        assert "\x1b" not in call("check", folder / "well.yml", env=env).stdout


def test_a_terminal_shows_which_checks_are_still_running(folder):
    """On the line of the cursor, until the report replaces it."""
    (folder / "release").touch()
    wait = f"while [ -e {folder}/release ]; do sleep 0.1; done"
    config = text(folder, f"checks: [{{name: slow, exec: {{command: [sh, -c, '{wait}']}}, timeoutSeconds: 100}}]\n")
    seen = b""
    with terminal("check", config) as (child, read):
        while not re.search(rb"\r\x1b\[K0 of 1 checks have run\. Running for \d+ s: slow", seen):
            seen += read()
        (folder / "release").unlink()
        while b"verdict" not in seen:
            seen += read()
        assert child.wait(PATIENCE) == 0

    assert seen.split(b"\r\x1b[K")[-1].startswith(b"\x1b[32mPASS")


def test_an_empty_no_color_wants_colours(folder):
    assert "\x1b[32m" in on_a_terminal("check", "--config.file", folder / "well.yml", NO_COLOR="")[1]


def test_a_report_in_a_file_has_no_colours(folder):
    assert "\x1b" not in spawn("check", "--config.file", folder / "ill.yml").stdout


def test_json_on_a_terminal_has_no_colours(folder):
    code, seen = on_a_terminal("check", "--config.file", folder / "ill.yml", "--format", "json")

    assert (code, json.loads(seen)["status"]) == (1, "fail")


# serve


def test_serve_ends_with_0_after_sigterm_even_before_it_serves(folder):
    env = stub(folder, "h11", "print('importing', flush=True)\nimport time\ntime.sleep(1000)\n")
    arguments = [sys.executable, "-m", "exporter", "serve", "--web.listen-address", "127.0.0.1:0"]
    with ended(Process(arguments, env=env)) as process:
        process.line("importing")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0

    assert process.lines == ["importing"]


def test_serve_refuses_a_web_configuration_that_cannot_be_used(folder):
    (folder / "web.yml").write_text("tls_server_config: {cert_file: a.crt}\n")
    refused = call("serve", "--web.listen-address", "127.0.0.1:0", "--web.config.file", "web.yml", cwd=folder)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "web.yml:1: tls_server_config.key_file: is required\n"


@pytest.mark.parametrize(("text", "size"), [("1MB", 2**20), ("64MB", 2**26), ("2GB", 2**31)])
def test_a_size_is_in_the_units_of_prometheus(text, size):
    from exporter.cli.parts import Size

    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "1", "0MB", "-1MB", "1.5GB", "1KB", "1mb", "1 MB", "9999999MB"])
def test_another_size_is_refused(text):
    from exporter.cli.parts import Size

    with pytest.raises(click.BadParameter, match="is not a size, such as 32MB or 1GB"):
        Size().convert(text, None, None)
