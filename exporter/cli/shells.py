"""The scripts of the shells, and how the exporter reads a command line that is not complete."""

import click
from click.shell_completion import BashComplete, ShellComplete, add_completion_class, get_completion_class

from exporter.arguments import COMPLETE


class _Bash(BashComplete):
    """bash makes three words of `--format=json`, and click expects two."""

    def get_completion_args(self) -> tuple[list[str], str]:
        words, incomplete = super().get_completion_args()
        return [word for word in words if word != "="], incomplete


add_completion_class(_Bash)


def write_script(command: click.Command, program: str, shell: str) -> str:
    """Return the script with which this shell completes the command."""
    found = get_completion_class(shell)
    assert found is not None
    # The class of bash would start bash for its version, but another bash may read the script.
    return ShellComplete.source(found(command, {}, program, COMPLETE)).rstrip()
