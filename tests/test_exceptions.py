"""The diagram of exceptions in `exporter/model.py` is complete, and draws the classes as they are."""

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "exporter"
LINE = re.compile(r"^    (?P<indent>(?:\|   )*)[|`]-- (?P<name>\w+)", re.MULTILINE)


def exception_classes() -> dict[str, str]:
    """Every exception class of the package, including those defined in functions, and its base class."""
    classes = {
        node.name: ast.unparse(node.bases[0]).rpartition(".")[2]
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.bases
    }

    def is_exception(name: str) -> bool:
        return name.endswith(("Exception", "Error")) or (name in classes and is_exception(classes[name]))

    return {name: base for name, base in classes.items() if is_exception(base)}


def diagram() -> dict[str, str]:
    """Every exception that the diagram names, and the one above it."""
    parents, lines = {0: "Exception"}, {}
    for line in LINE.finditer(ast.get_docstring(ast.parse((PACKAGE / "model.py").read_text()), clean=False)):
        depth = len(line["indent"]) // 4
        parents[depth + 1] = line["name"]
        lines[line["name"]] = parents[depth]
    return lines


def test_the_diagram_names_every_exception_class():
    assert sorted(diagram()) == sorted(exception_classes())


def test_an_exception_stands_under_its_base_class_if_that_is_one_of_the_package():
    classes = exception_classes()

    assert diagram() == {name: base if base in classes else "Exception" for name, base in classes.items()}


def test_the_classes_are_found_at_every_depth():
    """So that the comparison above cannot pass on two empty sets."""
    assert {"ProbeError", "SilentError", "PlainTextError", "Refused"} <= set(exception_classes())
