"""A shell for the commands of a page, and its output without what differs from run to run."""

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Shell:
    """A shell that runs one command after the other."""

    MARK = "-- the command has ended --"

    def __init__(self, folder: Path, **env: str) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._child = subprocess.Popen(
            ["bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "no_proxy": "*", **env},
        )

    def run(self, commands: str) -> str:
        """Return the output of the commands."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(f"{commands}\necho '{self.MARK}'\n")
        self._child.stdin.flush()
        lines = iter(self._child.stdout.readline, "")
        printed = []
        for line in lines:
            if line.endswith(f"{self.MARK}\n"):
                return "".join([*printed, line.removesuffix(f"{self.MARK}\n")])
            printed.append(line)
        raise AssertionError(f"the shell has ended: {printed}")

    def close(self) -> None:
        """End the shell and the processes it has started."""
        self.run("kill $(jobs -p) 2> /dev/null; wait")
        self._child.communicate()


def body(url: str) -> str | None:
    """The response's body, or None if there is none."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as response:
            return str(response.read().decode())
    except OSError:
        return None


def steady(text: str) -> str:
    """The text without times, durations, counts and generations, which differ from run to run."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    text = re.sub(r"(\d{4}-\d\d-\d\d )?\b\d\d:\d\d:\d\d\b", "TIME", text)
    text = re.sub(r"( +[\d.]+ min\b)?( +[\d.]+ m?s\b)", " DURATION", text)
    text = re.sub(r"\d+ (times until|runs failed in total)", r"N \1", text)
    text = text.rstrip("\n")  # not every response ends with one
    return re.sub(r"(\bgeneration[= ]|^health_snapshot_generation )[\d.]+", r"\1N", text, flags=re.MULTILINE)
