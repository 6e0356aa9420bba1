"""Processes for calls on paths, with a script in place of the system calls."""

import sys

from exporter.host.path_processes import PathProcesses

PROGRAM = """
import os
{first}
os.write(0, b"\\n")
while os.read(0, 65536):
    {act}
"""


def script_paths(act: str, first: str = "", **limits: int) -> PathProcesses:
    """Processes that run the statement `act` at each request, and `first` before they are ready."""
    program = PROGRAM.format(first=first, act=act)
    return PathProcesses((sys.executable, "-I", "-S", "-c", program), **limits)
