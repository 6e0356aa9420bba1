"""The command line is part of every start of `serve`, so its modules import little."""

import subprocess
import sys

HEAVY = {"click.shell_completion", "pydantic", "shutil", "unicodedata", "yaml", "xml"}
"""Modules that only some commands need, for completion or on a terminal; half a MiB of memory together."""


def test_the_commands_import_what_they_need_when_they_run():
    script = "import sys, click; before = {*sys.modules}; import exporter.cli.main; print(*{*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)

    assert done.stderr == ""
    assert {name for name in done.stdout.split() if name in HEAVY} == set()
