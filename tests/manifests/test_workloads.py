"""A stream of manifests: what is read, and what is refused."""

from itertools import pairwise

import pytest

from exporter.config.complaint import ConfigError
from exporter.manifests import tree, workloads
from exporter.manifests.tree import MAX_DEPTH
from exporter.manifests.workloads import MAX_BYTES, find_workloads, read

POD = "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: web}]}\n"
FEWER_VALUES = 10_000  # in place of MAX_VALUES, which take seconds to read
BOMB = f"{POD}bomb:\n- &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"- &{name} [{', '.join([f'*{inner}'] * 10)}]\n" for inner, name in pairwise("abcdefg")
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"#" * (MAX_BYTES + 1), "web.yaml: is larger than 16 MiB"),
        (b"a: " + b"[" * MAX_DEPTH, f"web.yaml:1: nested deeper than {MAX_DEPTH} levels"),
        (b"- a\n" * FEWER_VALUES, f"web.yaml: has more than {FEWER_VALUES} values, which is too many"),
        (
            BOMB.encode(),
            "web.yaml:5: has too many values or levels, counting those that aliases repeat",
        ),
        (
            f"{POD}loop: &a [*a]\n".encode(),
            "web.yaml:4: has too many values or levels, counting those that aliases repeat",
        ),
        (
            f"{POD}loop: &a {{<<: *a}}\n".encode(),
            "web.yaml:4: has too many values or levels, counting those that aliases repeat",
        ),
    ],
    ids=["bytes", "depth", "values", "bomb", "loop", "merge"],
)
def test_hostile_manifests_are_refused(content, message, monkeypatch):
    for module in (tree, workloads):
        monkeypatch.setattr(module, "MAX_VALUES", FEWER_VALUES)
    with pytest.raises(ConfigError) as refused:
        read(content, "web.yaml")

    assert str(refused.value) == message


LISTS = "x0: &a0 {kind: List, items: []}\n" + "".join(
    f"x{level}: &a{level} {{kind: List, items: [{', '.join([f'*a{level - 1}'] * 10)}]}}\n" for level in range(1, 3000)
)


@pytest.mark.parametrize(
    "content",
    [f"{LISTS}kind: List\nitems: [*a2999]\n", "&a\nkind: List\nitems: [*a, *a]\n"],
    ids=["bomb", "loop"],
)
def test_lists_of_aliases_take_no_longer_than_their_text(content):
    documents = read(content.encode(), "web.yaml")

    assert [list(find_workloads(document, "web.yaml")) for document in documents] == [[]]


def test_workloads_in_lists_come_in_their_order():
    pods = ", ".join(f"{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: *s}}" for name in "abc")
    content = (
        f"spec: &s {{containers: [{{name: web}}]}}\nkind: List\nitems: [{{kind: List, items: [{pods}]}}, {pods}]\n"
    )
    (document,) = read(content.encode(), "web.yaml")

    assert [workload.name for workload in find_workloads(document, "web.yaml")] == [*"abcabc"]
