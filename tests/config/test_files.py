"""A configuration of several files or folders: one set of checks, and all complaints together."""

import errno
from pathlib import Path
from textwrap import dedent

import pytest
from faults.fuse import mounted
from support import eventually

from exporter.config import files
from exporter.config.advice import give_advice
from exporter.config.checks import load, parse
from exporter.config.complaint import ConfigError, UnreadableError
from exporter.config.document import MAX_BYTES
from exporter.config.files import MAX_FILES, Text, sign_files
from exporter.config.nodes import MAX_VALUES
from exporter.evaluation.shard import Shard

A = "checks:\n  - {name: a, memory: {}}\n"
B = "checks:\n  - {name: b, memory: {}}\n"


def names(*paths: Path) -> list[str]:
    """The names of the checks in these files, in their order."""
    return [check.spec.name for check in load(*paths).checks]


def complaints(folder: Path, *paths: str) -> list[str]:
    """Every complaint about these files of a folder, or all of them, which are not valid."""
    with pytest.raises(ConfigError) as refused:
        load(*(folder / path for path in paths or [""]), environment={})
    return str(refused.value).replace(f"{folder}/", "").splitlines()


def write(folder: Path, **texts: str) -> Path:
    """Write files whose names end in .yml, and return their folder."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.yml").write_text(dedent(text))
    return folder


def test_a_folder_is_its_yaml_files_in_the_order_of_their_names(tmp_path):
    folder = write(tmp_path / "conf.d", z="checks: [{name: last, memory: {}}]", b=B, a=A)
    (folder / "c.yaml").write_text("checks: [{name: c, memory: {}}, {name: d, memory: {}}]")
    for name in (".hidden.yml", "a.yml~", "a.yml.bak", "README", ".a.yml.swp"):
        (folder / name).write_text("no configuration")
    (folder / "inner").mkdir()
    (folder / "inner" / "x.yml").write_text("no configuration")

    assert names(folder) == ["a", "b", "c", "d", "last"]


def test_several_files_and_folders_are_in_the_order_in_which_they_are_named(tmp_path):
    folder = write(tmp_path / "conf.d", b=B)
    write(tmp_path, a=A, c="checks: []")

    assert names(folder, tmp_path / "a.yml") == ["b", "a"]
    assert names(tmp_path / "a.yml", tmp_path / "c.yml", folder) == ["a", "b"]


def test_a_check_may_depend_on_one_in_another_file_and_shares_its_shard(tmp_path):
    a = "checks: [{name: a, memory: {}, dependsOn: [b]}, {name: c, memory: {}}]"
    checks = load(write(tmp_path / "conf.d", a=a, b=B)).checks
    shards = [[check.spec.name for check in Shard(index, 5).share(checks)] for index in range(5)]

    assert checks[0].spec.depends_on == ("b",)
    assert sorted(name for shard in shards for name in shard) == ["a", "b", "c"]
    assert all(("a" in shard) == ("b" in shard) for shard in shards)


# The files of a folder, and all complaints about them.
INVALID = {
    "a name in two files": (
        {"a": A, "b": f"{B}  - {{name: a, memory: {{}}}}\n"},
        ["b.yml:3: checks[1].name: the name is already used by the check at a.yml:2"],
    ),
    "a name in one file": (
        {"a": A, "b": f"{B}  - {{name: b, memory: {{}}}}\n"},
        ["b.yml:3: checks[1].name: the name is already used by the check on line 2"],
    ),
    "a cycle through two files": (
        {
            "a": "checks: [{name: a, memory: {}, dependsOn: [b]}]",
            "b": "\nchecks: [{name: b, memory: {}, dependsOn: [a]}]",
        },
        [
            "a.yml:1: checks[0].dependsOn[0]: is part of a cycle: the check at b.yml:2 depends on this one",
            "b.yml:2: checks[0].dependsOn[0]: is part of a cycle: the check at a.yml:1 depends on this one",
        ],
    ),
    "a dependency in no file": (
        {"a": "checks: [{name: a, memory: {}, dependsOn: [x]}]", "b": B},
        ["a.yml:1: checks[0].dependsOn[0]: no check has this name"],
    ),
    "errors in every file, and a dependency in one that cannot be read": (
        {
            "a": "checks: [{name: a, memory: {}, dependsOn: [c], periodSeconds: soon}]",
            "b": "checks: [{name: b, memory: {failRatio: 0}}]\nrules: []",
            "c": "checks: [{name: c",
            "d": "",
            "e": "memory: {failRatio: 0.5}",
        },
        [
            "a.yml:1: checks[0].periodSeconds: must be a whole number, not text of 4 characters",
            "b.yml:1: checks[0].memory.failRatio: must be greater than 0, not 0",
            "b.yml:2: rules: unknown key",
            "c.yml:1: not YAML: a '{' is not closed, or a ',' is missing",
            "d.yml: is empty",
            "e.yml:1: memory: belongs in the list checks: - {name: NAME, memory: {failRatio: 0.5}}",
        ],
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_files_are_validated_as_one(tmp_path, case):
    texts, expected = INVALID[case]

    assert complaints(write(tmp_path, **texts)) == expected


def test_without_a_yaml_file_a_folder_is_invalid(tmp_path):
    (tmp_path / "README").write_text("no configuration")

    assert complaints(tmp_path) == [f"{tmp_path}: cannot be read: the folder has no *.yml or *.yaml files"]


def test_a_file_that_cannot_be_read_is_an_error_and_the_others_are_read(tmp_path):
    folder = write(tmp_path / "conf.d", a="checks: [{name: a, memory: {}, dependsOn: [b]}]", d="check: []")
    (folder / "b.yml").symlink_to("none")
    (folder / "c.yml").mkdir()
    with pytest.raises(UnreadableError) as refused:
        load(folder, tmp_path / "none.yml")

    assert str(refused.value).splitlines() == [
        f"{folder}/b.yml: cannot be read: No such file or directory",
        f"{folder}/c.yml: cannot be read: Is a directory",
        f"{folder}/d.yml:1: check: unknown key, did you mean checks?",
        f"{tmp_path}/none.yml: cannot be read: No such file or directory",
    ]


def test_a_folder_that_hangs_is_an_error_by_the_deadline_of_all_files(tmp_path, monkeypatch):
    write(tmp_path, a=A)
    monkeypatch.setattr(files, "MAX_WAIT", 0.2)
    (tmp_path / "fuse").mkdir()
    with mounted(tmp_path / "fuse") as mount:
        write(mount.files / "conf.d", b=B)
        folder = mount.path / "conf.d"
        assert names(folder, tmp_path / "a.yml") == ["b", "a"]

        mount.hang()
        with pytest.raises(UnreadableError) as refused:
            load(folder, tmp_path / "a.yml")
        assert str(refused.value).splitlines() == [
            f"{folder}: cannot be read: no response in time",
            f"{tmp_path}/a.yml: cannot be read: not tried, because 0.2 s are over",
        ]
        mount.release()
        eventually(lambda: sign_files([folder]) != [errno.ETIMEDOUT])
        assert names(folder, tmp_path / "a.yml") == ["b", "a"]


def test_a_file_must_not_be_named_twice(tmp_path):
    write(tmp_path, a=A, b=B)

    assert complaints(tmp_path, "b.yml", "") == ["b.yml: is named twice"]
    assert complaints(tmp_path, "a.yml", "b.yml", "./a.yml") == ["a.yml: is named twice"]


def test_the_limits_are_those_of_all_files_together(tmp_path):
    comment = "#" * (MAX_BYTES // 2)
    write(tmp_path, a=A + comment, b=B + comment, c=B)
    assert complaints(tmp_path) == [
        "b.yml: is larger than 4 MiB, together with the files before it, which is too large for a configuration"
    ]

    names = [f"&n [{'a, ' * 100}a]", *["*n"] * (MAX_VALUES // 204)]
    half = f"checks: [{{name: a, exec: {{command: [{', '.join(names)}]}}}}]".encode()
    with pytest.raises(ConfigError) as refused:
        parse([Text("a.yml", half), Text("b.yml", half), *[Text("c.yml", half)] * 1000])
    assert [str(complaint) for complaint in refused.value.complaints if "values" in complaint.message] == [
        "b.yml:1: has more than 200000 values, counting those that aliases repeat, together with the files before it"
    ]


def test_too_many_files_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for number in range(MAX_FILES // 2 + 1):
            (tmp_path / folder / f"{number:03}.yml").touch()

    assert complaints(tmp_path, "a", "b") == [
        "b/500.yml: is one of more than 1000 files, which are too many for a configuration"
    ]


def test_advice_names_the_file(tmp_path):
    slow = "checks: [{name: slow, memory: {}, timeoutSeconds: 20}]"
    config = load(write(tmp_path / "conf.d", a=f"\n\n{slow}", b=slow.replace("slow", "slower"), c="checks: []"))

    assert [str(advice).partition(": a timeout")[0] for advice in give_advice(config, 30)] == [
        f"{tmp_path}/conf.d/a.yml:3: checks[0].timeoutSeconds",
        f"{tmp_path}/conf.d/b.yml:1: checks[0].timeoutSeconds",
    ]


def test_files_without_checks_have_one_piece_of_advice(tmp_path):
    config = load(write(tmp_path / "conf.d", a="checks: []", b="checks: []"))

    assert [advice.message for advice in give_advice(config, 30)] == [
        "no checks are configured, so every endpoint returns 200"
    ]
