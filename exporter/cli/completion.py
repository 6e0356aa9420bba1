"""`completion`: complete the command line in a shell."""

import sys

import click
from click.shell_completion import BashComplete, ShellComplete, add_completion_class, get_completion_class

from exporter.arguments import COMPLETE
from exporter.console import echo

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print the script that completes the command line in a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the script with which TAB completes commands, options, files and names of checks.

    \b
    bash: add this line to ~/.bashrc
      source <(health-exporter completion bash)
    zsh: add this line to ~/.zshrc, after compinit
      source <(health-exporter completion zsh)
    fish: run this once
      health-exporter completion fish > ~/.config/fish/completions/health-exporter.fish

    The shell finds health-exporter in its PATH. In a virtual environment, activate it first.

    \b
    Exit codes:
      0   the script is on standard output
      2   invalid command line
    """
    root = context.find_root()
    found = get_completion_class(shell)
    assert found is not None
    # The class of bash would start bash for its version, but another bash may read the script.
    script = ShellComplete.source(found(root.command, {}, str(root.info_name), COMPLETE))
    echo(script.rstrip(), sys.stdout)
    return 0


class _Bash(BashComplete):
    """bash makes three words of `--format=json`, and click expects two."""

    def get_completion_args(self) -> tuple[list[str], str]:
        words, incomplete = super().get_completion_args()
        return [word for word in words if word != "="], incomplete


add_completion_class(_Bash)
