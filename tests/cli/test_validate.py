"""`validate` for GitHub Actions."""

import commands
import pytest

CHECK = "checks:\n  - {name: load, loadAverage: {}, groups: [liveness, startup]}\n"


def test_errors_and_advice_are_annotations(tmp_path):
    (tmp_path / "good.yml").write_text(CHECK)
    (tmp_path / "bad.yml").write_text("checks:\n  - name: a b\n    memory: {failRatio: 100%}\n")
    good = commands.run("validate", "good.yml", "--format", "github", cwd=tmp_path)
    bad = commands.run("validate", "bad.yml", "--format", "github", cwd=tmp_path)

    assert (good.returncode, good.stderr, bad.returncode, bad.stderr) == (0, "", 2, "")
    advice, valid = good.stdout.splitlines()
    assert advice.startswith(
        "::warning file=good.yml,line=2::checks[0].groups: liveness restarts the application, and "
    )
    assert valid == "good.yml: valid, 1 check"
    name, ratio = bad.stdout.splitlines()
    assert name.startswith("::error file=bad.yml,line=2::checks[0].name: must be letters, digits")
    assert ratio.startswith("::error file=bad.yml,line=3::checks[0].memory.failRatio: ")


@pytest.mark.parametrize(
    ("name", "escaped"), [("a,b.yml", "a%2Cb.yml"), ("a:b%2C.yml", "a%3Ab%252C.yml"), ("none.yml", "none.yml")]
)
def test_the_characters_of_workflow_commands_are_escaped(tmp_path, name, escaped):
    if name != "none.yml":
        (tmp_path / name).write_text("checks: 1\n")
    bad = commands.run("validate", name, "--format=github", cwd=tmp_path)
    line = "" if name == "none.yml" else ",line=1"

    assert bad.stdout.startswith(f"::error file={escaped}{line}::")


def test_percent_signs_of_a_message_are_escaped():
    refused = commands.run("validate", "-", "--format=github", content=b"checks: [{name: a, memory: {'%0A': 1}}]\n")

    assert "%250A" in refused.stdout or "%0A" not in refused.stdout
