"""The files of a folder, read as one state."""

import os
import shutil
from pathlib import Path

import pytest
from support import within
from volumes import ConfigMap

from exporter.host import file_sets
from exporter.host.file_sets import MAX_ATTEMPTS, MAX_ENTRIES, read_set, sign_set

SUFFIXES = (".yml",)


def read(path: Path, max_bytes: int = 1000) -> dict[str, bytes | OSError]:
    contents = read_set(path, SUFFIXES, max_bytes, within(10))
    return {os.path.relpath(name, path): content for name, content in contents.items()}


def sign(path: Path) -> object:
    return sign_set(path, SUFFIXES, within(10))


def test_a_volume_is_read_where_its_link_leads_before_its_other_links_are_adapted(tmp_path):
    volume = ConfigMap(tmp_path / "volume", a="1", b="1")
    assert read(volume.path) == {"a.yml": b"1", "b.yml": b"1"}
    before = sign(volume.path)
    assert sign(volume.path) == before

    (volume.path / "c.yml").symlink_to("..data/c.yml")  # some kubelets add it before
    assert read(volume.path) == {"a.yml": b"1", "b.yml": b"1"}
    assert sign(volume.path) == before

    volume.switch(b="2", c="2")
    assert read(volume.path) == {"b.yml": b"2", "c.yml": b"2"}
    after = sign(volume.path)
    assert after != before

    volume.tidy()
    assert read(volume.path) == {"b.yml": b"2", "c.yml": b"2"}
    assert sign(volume.path) == after


@pytest.mark.parametrize("swaps", [1, MAX_ATTEMPTS - 1, MAX_ATTEMPTS])
def test_a_volume_that_is_replaced_while_it_is_read_is_read_again(tmp_path, monkeypatch, swaps):
    """Never do the contents mix two versions."""
    volume = ConfigMap(tmp_path / "volume", a="0", b="0")
    left = [*range(1, swaps + 1)]
    original = file_sets.read_now

    def read_and_replace(path: str, max_bytes: int) -> bytes:
        content = original(path, max_bytes)
        if path.endswith("a.yml") and left:
            volume.replace(a=f"{left[0]}", b=f"{left.pop(0)}")
        return content

    monkeypatch.setattr(file_sets, "read_now", read_and_replace)
    if swaps < MAX_ATTEMPTS:
        assert read(volume.path) == {"a.yml": b"%d" % swaps, "b.yml": b"%d" % swaps}
    else:
        with pytest.raises(OSError, match="its files change while they are read"):
            read(volume.path)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a.yml").write_text("longer"),
        lambda folder: (folder / "new.yml").touch(),
        lambda folder: (folder / "b.yml").unlink(),
        lambda folder: (folder / "b.yml").rename(folder / "c.yml"),
        shutil.rmtree,
    ],
)
def test_the_signature_changes_with_the_files_of_the_set_only(tmp_path, change):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.yml").write_text(name)
    before = sign(folder)
    (folder / "notes").write_text("x")
    (folder / ".a.yml.swp").write_text("x")
    assert sign(folder) == before

    change(folder)
    assert sign(folder) != before


def test_no_more_than_the_maximum_is_read(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.yml").write_text(name * 10)

    assert read(tmp_path, 30) == {"a.yml": b"a" * 10, "b.yml": b"b" * 10, "c.yml": b"c" * 10}
    assert read(tmp_path, 15) == {"a.yml": b"a" * 10, "b.yml": b"b" * 6}
    assert read(tmp_path, 5) == {"a.yml": b"a" * 6}


def test_a_folder_with_too_many_entries_is_not_listed_to_its_end(tmp_path):
    for number in range(MAX_ENTRIES + 1):
        (tmp_path / f"{number}.txt").touch()

    with pytest.raises(OSError, match="has more than 1000 entries"):
        read(tmp_path)
