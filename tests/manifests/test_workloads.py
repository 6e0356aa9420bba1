"""A stream of manifests: what is read, and what is refused."""

from itertools import pairwise

import pytest

from exporter.config.complaint import ConfigError
from exporter.manifests.tree import MAX_DEPTH, MAX_VALUES
from exporter.manifests.workloads import MAX_BYTES, read

POD = "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: web}]}\n"
BOMB = f"{POD}bomb:\n- &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"- &{name} [{', '.join([f'*{inner}'] * 10)}]\n" for inner, name in pairwise("abcdefg")
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"#" * (MAX_BYTES + 1), "web.yaml: is larger than 16 MiB"),
        (b"a: " + b"[" * MAX_DEPTH, f"web.yaml:1: nested deeper than {MAX_DEPTH} levels"),
        (b"- a\n" * MAX_VALUES, f"web.yaml: has more than {MAX_VALUES} values, which is too many"),
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
def test_hostile_manifests_are_refused(content, message):
    with pytest.raises(ConfigError) as refused:
        read(content, "web.yaml")

    assert str(refused.value) == message
