"""Fifty manifests of many shapes: what inject makes of each, and that uninject restores it."""

from typing import Any

import pytest
import yaml
from manifests.fifty_manifests import NAMES, find_options, inject, read, run
from render.scene import golden

from exporter.config.data import imply_tag
from exporter.config.nodes import UNRESOLVED
from exporter.manifests import workloads
from exporter.manifests.sidecar import is_config_map

ACCEPTED = [name for name in NAMES if not name.startswith("refused")]
EMPTY = ("annotations", "initContainers", "metadata", "volumes")


def simplify(node: yaml.Node) -> Any:
    """Give what Kubernetes sees: without nulls, and without empty values where they mean the same."""
    if isinstance(node, yaml.ScalarNode):
        is_text = node.tag != UNRESOLVED or imply_tag(node.value) == imply_tag("a")
        return node.value if is_text else (imply_tag(node.value), node.value)
    if isinstance(node, yaml.SequenceNode):
        return [simplify(item) for item in node.value]
    pairs = {key.value: simplify(value) for key, value in node.value}
    return {key: value for key, value in pairs.items() if not is_missing(key, value)}


def is_missing(key: str, value: Any) -> bool:
    is_null = isinstance(value, tuple) and value[0] == imply_tag("")
    return is_null or (key in EMPTY and not value)


def graphs(content: bytes) -> list[Any]:
    return [simplify(document) for document in workloads.read(content, "x") if not is_config_map(document)]


@pytest.mark.parametrize("name", NAMES)
def test_inject_prints_exactly_this(name):
    injected = inject(name)
    notes = "".join(f"# {line}\n" for line in injected.stderr.splitlines())

    assert bool(injected.exit_code) == name.startswith("refused")
    golden(f"../manifests/golden/{name}.yaml", notes + injected.stdout)


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_second_inject_changes_nothing(name):
    first = inject(name).stdout

    assert run("inject", first.encode(), *find_options(name)).stdout == first


@pytest.mark.parametrize("name", ACCEPTED)
def test_uninject_restores_the_original(name):
    restored = run("uninject", inject(name).stdout.encode())

    assert restored.exit_code == 0, restored.stderr
    assert graphs(restored.stdout.encode()) == graphs(read(name))
