"""The manifests in fifty/, and the options that the first line of each names."""

import shlex
from pathlib import Path

from click.testing import CliRunner, Result

from exporter.cli.main import cli

HERE = Path(__file__).parent
MANIFESTS = sorted((HERE / "fifty").glob("*.yaml"))
NAMES = [path.stem for path in MANIFESTS]


def find_options(name: str) -> list[str]:
    """Return the options in a manifest's first line, `# inject OPTIONS`; paths are relative to the folder."""
    first = (HERE / "fifty" / f"{name}.yaml").read_text().partition("\n")[0]
    words = shlex.split(first.removeprefix("# inject ")) if first.startswith("# inject ") else []
    return [str(HERE / "fifty" / word) if word.endswith(".yml") else word for word in words]


def run(command: str, content: bytes, *options: str) -> Result:
    """Run a command on standard input."""
    return CliRunner().invoke(cli, [command, *options, "-"], input=content, standalone_mode=True)


def read(name: str) -> bytes:
    """Return the content of a manifest of the folder."""
    return (HERE / "fifty" / f"{name}.yaml").read_bytes()


def inject(name: str) -> Result:
    """Add the exporter to a manifest of the folder."""
    return run("inject", read(name), *find_options(name))
