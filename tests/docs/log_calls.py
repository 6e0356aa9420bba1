"""Finds every log line that the code can write: its levels, its message and its fields.

The code is read, not run: some lines are about defects that no test can cause.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

PACKAGE = Path(__file__).parents[2] / "exporter"
LEVELS = {"debug": {"debug"}, "info": {"info"}, "warning": {"warn"}, "error": {"error"}, "exception": {"error"}}
UNPACKED = {"self._describe()": "_describe_start", "self._processes": "_processes", "how": "describe_end"}
"""The functions that return what a line's fields get from `**`."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
_T = TypeVar("_T", bound=ast.AST)


class Line(NamedTuple):
    """A log line. The message is a list of its fixed texts; there is any text between two of them."""

    levels: frozenset[str]
    texts: tuple[str, ...]
    fields: frozenset[str]

    def matches(self, message: str) -> bool:
        return re.fullmatch(".*".join(map(re.escape, self.texts)), message) is not None

    @property
    def fixed(self) -> int:
        """The number of fixed characters. Of two lines that match a message, it is of the one with more."""
        return sum(map(len, self.texts))


@cache
def find_lines() -> list[Line]:
    return [line for module in parse() for function in _walk(module, Function) for line in _find(function, module)]


@cache
def parse() -> tuple[ast.Module, ...]:
    return tuple(ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py")))


def _walk(tree: ast.AST, kind: type[_T]) -> Iterator[_T]:
    return (node for node in ast.walk(tree) if isinstance(node, kind))


def _find(function: Function, module: ast.Module) -> Iterator[Line]:
    for call in _walk(function, ast.Call):
        name, arguments = ast.unparse(call.func), call.args
        if name == "self._log.write":  # the keeper's, which has no logging
            levels, message, fields = {ast.literal_eval(arguments[0])}, arguments[1], arguments[2]
        elif name == "_log.log":
            levels, message, fields = {"info", "warn"}, arguments[1], _find_fields(call)
        elif name.startswith("_log.") and name[5:] in LEVELS:
            levels, message, fields = LEVELS[name[5:]], arguments[0], _find_fields(call)
        else:
            continue
        keys = frozenset(_list_keys(fields, function))
        for texts in _list_texts(message, function, module):
            yield Line(frozenset(levels), texts, keys)


def _find_fields(call: ast.Call) -> ast.expr | None:
    extras = [keyword.value for keyword in call.keywords if keyword.arg == "extra"]
    return extras[0].values[0] if extras and isinstance(extras[0], ast.Dict) else None


def _list_texts(message: ast.expr, function: Function, module: ast.Module) -> Iterator[tuple[str, ...]]:
    """List what a message can be: a text, or a name for texts that are assigned, or arguments of the function."""
    if isinstance(message, ast.Constant):
        yield tuple(re.split("%[sd]", message.value))
    elif isinstance(message, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in message.values]
        yield tuple("".join(parts).split("\0"))
    else:
        name = ast.unparse(message)
        values = [node.value for tree in (function, module) for node in _walk(tree, ast.Assign) if _assigns(node, name)]
        place = [argument.arg for argument in function.args.args].index(name) if not values else 0
        calls = (call for call in _walk(module, ast.Call) if ast.unparse(call.func) == f"self.{function.name}")
        values = values[:1] or [
            *function.args.defaults[-1:],
            *(v for call in calls for v in call.args[place - 1 : place]),
        ]
        for value in values:
            yield from _list_texts(value, function, module)


def _list_keys(fields: ast.expr | None, function: Function) -> Iterator[str]:
    if isinstance(fields, ast.Name):
        fields = next(node.value for node in _walk(function, ast.Assign) if _assigns(node, fields.id))
    if not isinstance(fields, ast.Dict):
        return
    for key, value in zip(fields.keys, fields.values, strict=True):
        yield from [ast.literal_eval(key)] if key else _list_returned(UNPACKED[ast.unparse(value)])


def _list_returned(name: str) -> Iterator[str]:
    """List the keys of every dictionary in the function of this name."""
    for module in parse():
        for function in _walk(module, Function):
            if function.name == name:
                for dictionary in _walk(function, ast.Dict):
                    yield from map(ast.literal_eval, filter(None, dictionary.keys))


def _assigns(node: ast.Assign, name: str) -> bool:
    return any(ast.unparse(target) == name for target in node.targets)
