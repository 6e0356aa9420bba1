"""The table of mounts, as the kernel writes it."""

from pathlib import Path

import pytest

from exporter.host.mounts import explain_absence, find_mount

TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
65 27 0:40 / /srv/a\040b\134c rw,relatime shared:2 master:3 - fuse.sshfs user:hunter2@host:/srv rw,password=hunter2
66 27 0:41 / /tmp rw - tmpfs tmpfs rw
67 27 0:42 / /mnt rw - tmpfs none rw
nonsense
"""


@pytest.fixture
def proc(tmp_path):
    """A folder like /proc with this table of mounts."""
    (tmp_path / "thread-self").mkdir()
    (tmp_path / "thread-self" / "mountinfo").write_text(TABLE)
    return tmp_path


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (27, "ext4 /dev/vda on /"),
        (66, "tmpfs on /tmp"),
        (67, "tmpfs on /mnt"),
        (65, "fuse.sshfs ***@host:/srv on /srv/a b\\c"),
    ],
)
def test_a_mount_is_named_without_credentials(proc, number, text):
    assert str(find_mount(number, proc / "thread-self")) == text


def test_a_mount_that_is_not_listed_is_not_found(proc, tmp_path):
    assert find_mount(1, proc / "thread-self") is None
    assert find_mount(27, tmp_path / "absent") is None


def test_a_path_with_the_end_of_a_line_hides_no_mount(proc):
    """The kernel escapes only the line feed in a path."""
    table = "70 27 0:43 / /tmp/\x0csecret rw shared:1 master:2 propagate_from:3 unbindable - tmpfs none rw\n"
    (proc / "thread-self" / "mountinfo").write_text(table + TABLE)

    assert str(find_mount(70, proc / "thread-self")) == "tmpfs on /tmp/\x0csecret"
    assert str(find_mount(66, proc / "thread-self")) == "tmpfs on /tmp"


@pytest.mark.parametrize(
    ("tables", "hidden"),
    [
        ((",subset=pid",), True),
        (("", ",hidepid=invisible,subset=pid"), True),
        ((",subset=pid", ""), False),
        ((), False),
    ],
    ids=["subset", "on top", "below", "no proc"],
)
def test_the_reason_for_a_file_that_does_not_exist(proc, tables, hidden):
    lines = [f"{number} 27 0:21 / {proc} rw - proc proc rw{options}" for number, options in enumerate(tables)]
    (proc / "thread-self" / "mountinfo").write_text("\n".join(lines))
    message = explain_absence(proc / "stat", proc, "this kind needs Linux")

    assert message.startswith(
        f"{proc / 'stat'} is hidden by " if hidden else f"{proc / 'stat'} cannot be read: this kind"
    )
    assert ("ProcSubset=pid" in message) is hidden


def test_the_mounts_of_this_machine_can_be_read():
    text = Path("/proc/self/mountinfo").read_text()

    assert all(find_mount(int(line.split()[0])) for line in text.splitlines())
