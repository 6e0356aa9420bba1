"""Packages of npm that tests use."""

import shutil
import subprocess
from pathlib import Path

from support import unavailable

WAIT = 60


def install(folder: Path) -> Path:
    """Return the folder with its locked packages. npm installs them if they are missing or outdated."""
    npm = shutil.which("npm") or unavailable("npm is not installed: Node.js 20 or newer is needed")
    installed, lock = folder / "node_modules" / ".package-lock.json", folder / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        arguments = [npm, "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            result = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=WAIT)
        except subprocess.TimeoutExpired:
            shutil.rmtree(folder / "node_modules", ignore_errors=True)
            unavailable(f"npm did not install the packages of {folder.name} within {WAIT} s")
        if result.returncode != 0:
            unavailable(f"npm could not install the packages of {folder.name}: {result.stderr.strip()[-500:]}")
    return folder
