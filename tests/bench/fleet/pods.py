"""The pods of a fleet: their labels, and what kube-state-metrics exposes about them."""

from dataclasses import dataclass

PODS_PER_NODE = 20
WELL, DATABASE, GONE = "well", "database", "gone"
MODES = (WELL, DATABASE, GONE)
"""All is well, a check fails everywhere, or one exporter of three does not respond."""


@dataclass(frozen=True)
class Pod:
    """A pod of a workload with `replicas` pods."""

    number: int
    replicas: int
    nodes: int

    @property
    def workload(self) -> int:
        return self.number // self.replicas

    @property
    def labels(self) -> dict[str, str]:
        job = f"app-{self.workload}"
        return {
            "cluster": "main",
            "namespace": self.namespace,
            "job": job,
            "instance": f"10.{self.number >> 16}.{self.number >> 8 & 255}.{self.number & 255}:4584",
            "pod": self.name,
            "container": "health-exporter",
            "endpoint": "http-health",
            "node": f"node-{self.number * 7919 % self.nodes}",
        }

    @property
    def name(self) -> str:
        return f"{self.owner}-{self.number % self.replicas}"

    @property
    def owner(self) -> str:
        return f"app-{self.workload}-7d9c5b"

    @property
    def namespace(self) -> str:
        return f"team-{self.workload % 20}"

    def is_gone(self, mode: str) -> bool:
        return mode == GONE and self.number % 3 == 0


def deploy(count: int, replicas: int) -> list[Pod]:
    """Return the pods of as many workloads as it takes."""
    return [Pod(number, replicas, max(3, count // PODS_PER_NODE)) for number in range(count)]


def write_state(pods: list[Pod], mode: str) -> bytes:
    """Return what kube-state-metrics exposes about these pods, and their ReplicaSets."""
    lines, ready = [], dict.fromkeys([(pod.namespace, pod.owner) for pod in pods], 0)
    for pod in pods:
        is_ready = mode != DATABASE and not pod.is_gone(mode)
        ready[pod.namespace, pod.owner] += is_ready
        labels = f'namespace="{pod.namespace}",pod="{pod.name}"'
        for condition, value in (("true", is_ready), ("false", not is_ready), ("unknown", False)):
            lines.append(f'kube_pod_status_ready{{{labels},condition="{condition}"}} {value:d}')
        lines.append(f'kube_pod_owner{{{labels},owner_kind="ReplicaSet",owner_name="{pod.owner}"}} 1')
        restarts = f"kube_pod_container_status_restarts_total{{{labels},container="
        lines += [f'{restarts}"app"}} 0', f'{restarts}"health-exporter"}} 0']
    for (namespace, owner), count in ready.items():
        labels = f'namespace="{namespace}",replicaset="{owner}"'
        lines.append(f"kube_replicaset_spec_replicas{{{labels}}} {pods[0].replicas}")
        lines.append(f"kube_replicaset_status_ready_replicas{{{labels}}} {count}")
    cluster = (line.replace("{", '{cluster="main",', 1) for line in lines)
    return ("\n".join(cluster) + "\n").encode()
