"""Kernel files and numbers of CPUs, from fake trees of /proc."""

import pytest

from exporter.host.proc import MAX_FILE, count_allowed_cpus, count_machine_cpus, read_file


@pytest.mark.parametrize(
    ("cpuset", "count"), [("0-3", 4), ("0", 1), ("0-1,4,6-7", 5), ("3,5", 2)], ids=["range", "one", "mixed", "list"]
)
def test_allowed_cpus_are_counted(tmp_path, cpuset, count):
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text(f"Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t{cpuset}\n")

    assert count_allowed_cpus(tmp_path / "self", tmp_path) == count


def test_the_machine_s_cpus_include_those_that_are_not_allowed(tmp_path):
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text("Cpus_allowed_list:\t0\n")
    (tmp_path / "stat").write_text("cpu  9 9\ncpu0 3 3\ncpu2 3 3\ncpu11 3 3\nintr 7\ncpufreq 1\nctxt 7\n")

    assert count_machine_cpus(tmp_path) == 3
    assert count_allowed_cpus(tmp_path / "self", tmp_path) == 1


def test_without_the_files_there_is_at_least_one_cpu(tmp_path):
    assert count_allowed_cpus(tmp_path / "self", tmp_path) >= 1
    assert count_machine_cpus(tmp_path) >= 1


def test_a_path_below_a_file_does_not_exist(tmp_path):
    (tmp_path / "file").write_text("text")

    assert read_file(tmp_path / "file") == "text"
    assert read_file(tmp_path / "file" / "below") is None
    assert read_file(tmp_path / "absent") is None


def test_only_the_beginning_of_a_file_is_read(tmp_path):
    (tmp_path / "mountinfo").write_text("x" * MAX_FILE + "y")

    assert read_file(tmp_path / "mountinfo") == "x" * MAX_FILE


def test_a_name_with_the_end_of_a_line_hides_no_line(tmp_path):
    """The kernel escapes only the line feed in the name of a process."""
    (tmp_path / "status").write_text("Name:\tCpus_allowed_list:\x0cx\nCpus_allowed_list:\t0-2\n")

    assert count_allowed_cpus(tmp_path) == 3
