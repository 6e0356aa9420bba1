"""What the user of `inject` needs to know about a workload, in sentences."""

from collections.abc import Collection, Iterator, Mapping

import yaml

from exporter.config.pasted import PROBES
from exporter.manifests import timing
from exporter.manifests.configuration import Checks, Configuration
from exporter.manifests.probes import EXEC, OldProbe
from exporter.manifests.sidecar import NAME, PORT
from exporter.manifests.timing import Timing
from exporter.manifests.tree import find, find_text, list_items
from exporter.manifests.workloads import Workload

_EXEC_HINT = (
    "runs in the application's container and stays as it is: to replace it, write a check for --config.file, for "
    "example of a file on a volume that both containers mount, or with shareProcessNamespace: "
    "file: {path: /tmp/healthy, of: {process: NAME}}"
)


def explain_missing(container: yaml.Node, probes: Mapping[str, OldProbe]) -> str:
    """Return why a container has nothing to convert, and what to do."""
    name = find_text(container, "name")
    flaw = "only exec probes, which run in the application's container" if probes else "no probe"
    port = next((find_text(item, "containerPort") for item in list_items(container, "ports")), "PORT")
    check = f"{{name: {name}, httpGet: {{host: $(POD_IP), path: /, port: {port}}}, groups: [liveness, startup]}}"
    return f"the container {name} has {flaw}: write a file for --config.file, such as checks: [{check}]"


def explain_times(probes: Mapping[str, OldProbe], replaced: Mapping[str, Timing], checks: Checks) -> Iterator[str]:
    """Yield the times from a fault to the kubelet's decision, if they differ from those of the old probes."""
    events = {"livenessProbe": "a restart", "readinessProbe": "the removal from the endpoints"}
    for key in [key for key in events if key in replaced]:
        low, high = timing.find_span(replaced[key], checks[PROBES[key]])
        span = probes[key].timing.span if key in probes else None
        if span != (low, high):
            was = f"; before: {span[0]} to {span[1]} s" if span else ""
            yield f"{events[key]} follows {low} to {high} s after a fault{was}"
    if "startupProbe" in replaced:
        gates = [probes[key].timing.start for key in ("startupProbe", "livenessProbe") if key in probes]
        before = f"; before: {sum(gates)} s" if gates else ""
        yield f"an application that does not start is restarted after {replaced['startupProbe'].start} s{before}"


def warn_exec(probes: Mapping[str, OldProbe], replaced: Collection[str] = ()) -> Iterator[str]:
    """Yield a warning for each exec probe that stays."""
    for key, probe in probes.items():
        if probe.kind == EXEC and key not in replaced:
            yield f"warning: {key}: exec {_EXEC_HINT}"


def warn_pod(workload: Workload, *, native: bool) -> Iterator[str]:
    """Yield what is special about the pod. `native` means that a native sidecar was requested."""
    if workload.ends and not native:
        yield "a native sidecar, because the pod ends by itself: requires Kubernetes 1.29"
    if find_text(workload.spec, "hostNetwork") == "true":
        yield f"warning: hostNetwork: port {PORT} must be free on the node, so only one such pod fits on it"
    live = find(workload.node, "metadata", "uid") is not None
    if live and find_text(workload.node, "kind") in ("Pod", "Job"):
        yield "warning: the API server accepts no new containers in a running pod or Job: create it again"


def warn_image(
    configuration: Configuration, image: str, replaced: Mapping[str, Timing], *, native: bool
) -> Iterator[str]:
    """Yield what the exporter's container needs to start, and for these checks."""
    if "/" not in image:
        gate = next((replaced[key] for key in ("startupProbe", "livenessProbe") if key in replaced), None)
        effect = "the application gets no traffic"
        if native:
            effect = "the application does not start"
        elif gate:
            effect = f"the kubelet restarts the application every {gate.start} s"
        yield (
            f"warning: the image {image} has no registry: on a node that does not have it, the exporter cannot start, "
            f"and {effect}"
        )
    if configuration.variables:
        names = ", ".join(configuration.variables)
        yield f"warning: the checks read {names}: add them to the container {NAME} as env"
    if configuration.extras:
        yield f"warning: the checks require the extras {','.join(configuration.extras)} in the image {image}"
