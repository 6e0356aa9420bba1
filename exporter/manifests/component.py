"""The kustomize component k8s/components/sidecar, whose probes have fixed numbers, and the patch that adapts them."""

from collections.abc import Iterator, Mapping

from exporter.manifests.configuration import Configuration
from exporter.manifests.endpoints import choose_probes, make_probe
from exporter.manifests.original import list_numbers
from exporter.manifests.probes import OldProbe
from exporter.manifests.timing import DEFAULTS, LEAST, format_timing
from exporter.manifests.tree import find_text
from exporter.manifests.workloads import Workload

NUMBERS = {key: format_timing(timing, {}) for key, timing in LEAST.items()}
"""The numbers in the component's template/pod.yaml."""
NOTE = "the numbers of the kustomize component do not fit: the end of the output has the patch for your kustomization"
_INTRODUCTION = (
    "# The probes of the kustomize component have other numbers than those of inject. With the component, add this to",
    "# your kustomization, so that a restart takes about as long as before:",
    "#",
)


def write_patch(workload: Workload, probes: Mapping[str, OldProbe], configuration: Configuration) -> str:
    """Return the comment with the patch for a kustomization; empty if the numbers of the component fit."""
    chosen = choose_probes(probes, configuration, own=False)
    new = list_numbers({key: make_probe(key, numbers, probes) for key, numbers in chosen.items()})
    place = "/".join(("", *workload.path, "spec", "containers", "0"))
    lines = [
        f"#       - {{op: {operation}, path: {place}/{key}/{field}, value: {value}}}"
        for key in NUMBERS
        if key in new
        for operation, field, value in _compare(NUMBERS[key], new[key])
    ]
    target = f"#   - target: {{kind: {find_text(workload.node, 'kind')}, name: {workload.name}}}"
    return "\n".join([*_INTRODUCTION, "# patches:", target, "#     patch: |", *lines, ""]) if lines else ""


def _compare(present: Mapping[str, int], wanted: Mapping[str, int]) -> Iterator[tuple[str, str, int]]:
    """Yield the changes that lead from numbers to others, where a missing one is Kubernetes' default."""
    for field, value in wanted.items():
        if present.get(field, DEFAULTS.get(field)) != value:
            yield "replace" if field in present else "add", field, value
