"""The keeper stays small because it imports almost nothing."""

import subprocess
import sys

# Part of the interpreter, or small.
ALLOWED = {"_signal", "_socket", "errno", "gc", "mmap", "select", "time"}
IMPORT = "before = {*sys.modules}; import exporter.keeper.run, exporter.__main__; print(*{*sys.modules} - before)"


def test_the_keeper_imports_only_small_modules():
    done = subprocess.run([sys.executable, "-c", f"import sys; {IMPORT}"], capture_output=True, text=True, timeout=60)
    others = {name for name in done.stdout.split() if name.partition(".")[0] != "exporter"}
    own = {name for name in done.stdout.split() if name.startswith("exporter.")}

    assert done.stderr == ""
    assert others <= ALLOWED
    assert {name for name in own if not name.startswith("exporter.keeper")} == {
        "exporter.__main__", "exporter.addresses", "exporter.arguments", "exporter.exitcodes",
        "exporter.inherited", "exporter.lines",
    }  # fmt: skip
