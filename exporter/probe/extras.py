"""The packages that only an extra installs, and the command that installs them where this exporter runs."""

import importlib
import re
import shlex
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any

NAME = "health-exporter"


class MissingExtraError(ValueError):
    """A module is missing that only an extra installs."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"requires the extra {extra} (module {module} is missing): {_find_remedy(extra)}")


def require(module: str, extra: str) -> Any:
    """Import a module that only an extra installs. If it is missing or broken, raises ValueError, which says so."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise MissingExtraError(module, extra) from None
    except ImportError as error:
        raise ValueError(f"the module {module} cannot be imported: {error}") from None


def _find_remedy(extra: str) -> str:
    """Return what to do. The command names the packages, because no package index has Health Exporter itself."""
    packages = list_packages(extra)
    if not packages:  # an extra of a plugin
        return "install it"
    if util.find_spec("pip") is None:  # as in the image
        return f"build the image with --build-arg EXTRAS={extra}"
    return f"run {shlex.join([_find_python(), '-m', 'pip', 'install', *packages])}"


def list_packages(extra: str) -> list[str]:
    """List the packages of an extra with their versions, as the installed exporter declares them."""
    try:
        requirements = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:
        return []
    matches = (re.fullmatch(r"([^;]+?) *; *extra *== *[\"']([\w.-]+)[\"']", text) for text in requirements)
    return [match[1] for match in matches if match and match[2] == extra]


def _find_python() -> str:
    """Return the interpreter; `sys.executable` can also be the server that has loaded Python, such as uWSGI."""
    if Path(sys.executable).name.startswith("python"):
        return sys.executable
    return str(Path(sys.prefix, "bin", "python3"))
