"""Advice on texts: what a valid text of a configuration cannot have been meant to be, according to what it is for.

The texts are read as they are written in the file, so `$(NAME)` is still in them. The types of the options say what
they are for (`options.Meaning`). A message shows no text of the file.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, get_args

from pydantic import BaseModel

from exporter.config.complaint import Keys
from exporter.config.unknown_keys import find_inner_model
from exporter.host.reader import call, sign
from exporter.probe.check import Check
from exporter.probe.flaws import find_flaw, find_hidden, find_typographic_quote
from exporter.probe.options import Meaning
from exporter.probe.reference import expand, explain_unset, find_unset

Advice = Iterator[tuple[Keys, str]]
"""Paths from a check, each with a message."""

HERE = " on this machine"
"""A part of all advice that depends on the machine."""
_SHELLS = {"sh", "ash", "bash", "busybox", "dash", "ksh", "zsh", "fish", "pwsh", "powershell", "cmd.exe"}
_OPERATORS = {"|", "||", "&&", "&", ";", "<", ">", ">>", "2>", "2>>", "2>&1", "&>", "<<", "<<<"}
_REDIRECTION = re.compile(r"(?:[12&]?>>?)/dev/(?:null|stdout|stderr)")
_GLOB = re.compile(r"(?:~|\.{0,2})/(?=\S*\Z)\S*?(?<![.)\]\\])\*")  # not the `.*` of a regular expression
_SHELL_WORD = re.compile(r"[-./=:\w]*\$[A-Za-z_][-./:\w]*", re.ASCII)
_SHELL_VARIABLE = re.compile(r"\$(?:\{[A-Za-z_]|[A-Z_])")  # not the `$filter=` of OData
_BRACES = re.compile(r"\$\{[A-Za-z_]\w*\}", re.ASCII)
_PARENTHESES = re.compile(r"\$\([A-Za-z_]\w*\)", re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][-+.A-Za-z0-9]*://")


def check_texts(check: Check, data: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Advice:
    """Yield advice on the texts of a check. `data` is the check as it is written."""
    kind = check.spec.kind
    for path, value, meanings in _list_values(data[kind], type(check.probe), (kind,)):
        if isinstance(value, list):
            yield from (((*path, index), message) for index, message in _check_command(value, environment))
        else:
            yield from ((path, message) for message in _check_text(value, meanings, environment))


def _list_values(data: Any, model: type[BaseModel], path: Keys) -> Iterator[tuple[Keys, Any, set[Meaning]]]:
    """Yield the texts in a mapping, and the lists that are commands, each with what it is for."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        meanings = {mark for mark in field.metadata if isinstance(mark, Meaning)} | _find_meanings(field.annotation)
        for place, value in _list_leaves(data.get(key), (*path, key), whole=Meaning.ARGUMENTS in meanings):
            if isinstance(value, dict):
                inner = find_inner_model(field.annotation)
                yield from _list_values(value, inner, place) if inner else ()
            else:
                yield place, value, meanings


def _list_leaves(value: Any, path: Keys, *, whole: bool) -> Iterator[tuple[Keys, Any]]:
    """Yield the texts and mappings in a value; a list as it is if it is to be kept whole."""
    if isinstance(value, list) and not whole:
        for index, item in enumerate(value):
            yield from _list_leaves(item, (*path, index), whole=False)
    elif isinstance(value, str | dict | list):
        yield path, value


def _find_meanings(annotation: Any) -> set[Meaning]:
    if isinstance(annotation, Meaning):
        return {annotation}
    return set().union(*map(_find_meanings, get_args(annotation)))


def _check_text(text: str, meanings: set[Meaning], environment: Mapping[str, str]) -> Iterator[str]:
    """Yield advice on one text; only the first flaw of a kind, because others often follow from it."""
    if flaw := find_hidden(text) if Meaning.BLOCK in meanings else find_flaw(text):
        yield flaw
    elif Meaning.VARIABLE in meanings:
        if text not in environment:
            yield explain_unset([text], HERE)
    elif Meaning.REFERENCE in meanings:
        yield from _check_reference(text, meanings, environment)
    elif _BRACES.search(text) or (Meaning.BLOCK not in meanings and _PARENTHESES.search(text)):
        yield "is used as it is written: a variable is written $(NAME), and only in a host, a path, a URL or a command"


def _check_reference(text: str, meanings: set[Meaning], environment: Mapping[str, str]) -> Iterator[str]:
    if unset := list(find_unset(text, environment)):
        yield explain_unset(unset, HERE)
    elif _SHELL_VARIABLE.search(text):
        yield "an environment variable is written $(NAME), not $NAME or ${NAME}"
    elif Meaning.HTTP_PATH in meanings and _SCHEME.match(text):
        yield "is a URL, of which only path and query are used: write host, port and scheme in options of their own"
    elif Meaning.FILE in meanings:
        yield from _check_file(expand(text, environment), needed=Meaning.INPUT in meanings)


def _check_file(path: str, *, needed: bool) -> Iterator[str]:
    if path.startswith("~"):
        yield "~ is not replaced by a home directory: write the absolute path"
    elif _SCHEME.match(path):
        yield "is a URL: write the path alone"
    elif any(character in path for character in "*?"):
        yield "wildcards are not replaced by the names of files: write the path of one file"
    elif not path.startswith(("/", "@")):  # an abstract socket begins with @
        yield "is relative to the directory in which the exporter is started: write an absolute path"
    elif needed and (fault := _find_fault(path)):
        yield f"the file cannot be read{HERE}: {fault}"


def _find_fault(path: str) -> str | None:
    try:
        sign(path)
    except OSError as error:
        return error.strerror
    return None


def _check_command(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield advice on the words of a command, by their position."""
    names = [word.rpartition("/")[2] for word in command]
    shell = next((index for index, name in enumerate(names) if name in _SHELLS), None)
    if fault := _check_program(command[0], environment):
        yield 0, fault
    if shell is not None and names[shell + 1 : shell + 2] == ["-c"] and _splits_script(command[shell + 2 :]):
        yield shell + 3, f"is not part of the command that {names[shell]} runs: write all of it as one text after -c"
    for index, word in enumerate(command):
        if flaw := find_hidden(word) or find_typographic_quote(word):
            yield index, flaw
        if unset := list(find_unset(word, environment)):
            yield index, explain_unset(unset, HERE)
        if shell is None and (fault := _find_shell_syntax(word)):
            yield index, fault


def _check_program(program: str, environment: Mapping[str, str]) -> str | None:
    if any(find_unset(program, environment)):
        return None
    program = expand(program, environment)
    try:
        found = call(program, partial(shutil.which, program), "find a program")
    except OSError:  # its mount does not respond
        return None
    if found:
        return None
    if re.search(r"\s", program.strip()):
        return "is a whole command in one entry: write [PROGRAM, ARGUMENT, ...], or [sh, -c, COMMAND] for a shell"
    if "/" in program and _find_fault(program) is None:
        return f"the program is not executable{HERE}"
    return f"the program is not found{HERE}"


def _splits_script(words: Sequence[str]) -> bool:
    """Return whether the words after `-c` are probably one command: only a script that uses `$1` takes arguments."""
    return len(words) > 1 and "$" not in words[0] and not re.search(r"\s", words[0])


def _find_shell_syntax(word: str) -> str | None:
    if word in _OPERATORS or _REDIRECTION.fullmatch(word):
        return f"{word} is passed to the program, because no shell reads the command: write [sh, -c, COMMAND]"
    if word.startswith("~/"):
        return "only a shell replaces ~ by a home directory: write the absolute path"
    if _GLOB.match(word):
        return "only a shell replaces * by the names of files: write [sh, -c, COMMAND]"
    if _BRACES.search(word) or _SHELL_WORD.fullmatch(word):
        return "only a shell replaces $NAME and ${NAME}: write $(NAME), or [sh, -c, COMMAND]"
    return None
