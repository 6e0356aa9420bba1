"""`completion`: complete the command line in a shell."""

import sys

import click

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
    from exporter.cli.shells import write_script

    root = context.find_root()
    echo(write_script(root.command, str(root.info_name), shell), sys.stdout)
    return 0
