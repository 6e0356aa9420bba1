"""A stage for a drill: a namespace of its own, with the overlays of k8s/ as a user applies them."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from kube import Cluster, Seen, Watch, is_ready, kubectl, restarts, samples
from support import Answer, command, get

HERE = Path(__file__).parent
OVERLAYS = HERE.parents[2] / "k8s" / "overlays"
EXPORTER = "health-exporter"
IMAGE = os.environ.get("IMAGE", "health-exporter:dev")


class Stage:
    """A namespace in which the restricted Pod Security Standard is enforced, and what happens there."""

    def __init__(self, cluster: Cluster, name: str, folder: Path) -> None:
        self.cluster = cluster
        self.namespace = f"health-e2e-{name}-{secrets.token_hex(3)}"
        self.notes: list[str] = []
        self.folder = folder
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}})
        self.watch = Watch(cluster, self.namespace)

    def end(self) -> None:
        self.watch.end()
        kubectl("delete", "namespace", self.namespace, "--wait=false")

    def note(self, what: str, seconds: float) -> None:
        """A measured time, for the summary at the end."""
        self.notes.append(f"{self.namespace}: {what}: {seconds:.1f} s")

    # What a user does.

    def create(self, *objects: dict[str, Any]) -> None:
        """Apply objects of the test's own."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(items))

    def apply(self, overlay: str, checks: str | None = None, patches: list[Any] | None = None) -> None:
        """Apply a kustomization on top of an overlay: namespace, image, the application, and what is given."""
        root = self.folder / f"{overlay}-{secrets.token_hex(3)}"
        root.mkdir()
        stable = {"disableNameSuffixHash": True}
        maps: list[dict[str, Any]] = []
        if "sidecar" in overlay:
            (root / "application.py").write_bytes((HERE / "application.py").read_bytes())
            maps.append({"name": "shop", "behavior": "replace", "files": ["shop.py=application.py"]})
        if checks is not None:
            (root / "health.yml").write_text(checks)
            name = "shop-health" if "sidecar" in overlay else EXPORTER
            maps.append({"name": name, "behavior": "replace", "files": ["health.yml"], "options": stable})
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": self.namespace,
            "resources": [os.path.relpath(OVERLAYS / overlay, root.resolve())],
            "images": [{"name": EXPORTER, **image()}],
            "configMapGenerator": maps,
            "patches": patches or [],
        }
        (root / "kustomization.yaml").write_text(json.dumps(kustomization))
        kubectl("apply", "--server-side", "-k", str(root))

    def application(self, name: str) -> str:
        """Another one of the applications, in a pod and behind a Service of this name; the Service's address."""
        script = (HERE / "application.py").read_text()
        container = {
            "name": name,
            "image": IMAGE,
            "command": ["python3", "/app/application.py"],
            "volumeMounts": [{"name": "app", "mountPath": "/app"}],
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        spec = {
            "containers": [container],
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "app", "configMap": {"name": name}}],
        }
        head = {"apiVersion": "v1", "metadata": {"name": name, "namespace": self.namespace, "labels": {"app": name}}}
        self.create(
            {**head, "kind": "ConfigMap", "data": {"application.py": script}},
            {**head, "kind": "Pod", "spec": spec},
            {
                **head,
                "kind": "Service",
                "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
            },
        )
        self.watch.until(lambda watch: name in watch.endpoints(), 120, f"{name} gets traffic")
        service = self.cluster.read(f"/api/v1/namespaces/{self.namespace}/services/{name}")
        return str(service["spec"]["clusterIP"])

    def execute(self, pod: str, container: str, *arguments: str) -> None:
        """Run a command that may end its own container: its exit code says nothing then."""
        target = ["exec", "-n", self.namespace, pod, "-c", container, "--"]
        subprocess.run([command("kubectl"), *target, *arguments], capture_output=True, timeout=60, check=False)

    # What one sees from outside.

    def ask(self, pod: str, path: str, port: int = 4584) -> Answer:
        """A request to a pod, by way of the API server. An answer with 502 or 503 may be the API server's own."""
        base = f"{self.cluster.url}/api/v1/namespaces/{self.namespace}/pods/{pod}:{port}/proxy"
        return get(base + path, timeout=30)

    def order(self, pod: str, path: str) -> float:
        """Tell the application what to do; returns when it was told."""
        assert self.ask(pod, path, 8080).status == 200
        return time.time()

    def metrics(self, pod: str) -> dict[str, float]:
        return samples(self.ask(pod, "/metrics"))

    def log(self, pod: str) -> str:
        """What the exporter has logged."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log?container={EXPORTER}"
        return get(self.cluster.url + path, timeout=30).text

    def ready(self, count: int = 1, within: float = 120) -> list[str]:
        """Wait for so many pods to be ready; their names."""

        def well(watch: Watch) -> list[str]:
            return [name for name, pod in watch.pods().items() if is_ready(pod)]

        self.watch.until(lambda watch: len(well(watch)) == count, within, f"{count} ready pods")
        return sorted(well(self.watch))

    def restarted(self, container: str, count: int = 1, within: float = 120) -> float:
        """Wait until the kubelet has started a container anew so many times; when that was told."""

        def told(watch: Watch) -> Seen | None:
            return watch.first("Pod", lambda pod: restarts(pod).get(container, 0) >= count)

        seen: Seen = self.watch.until(told, within, f"restart {count} of {container}")
        return seen.at

    def until(self, condition: Callable[[], Any], within: float, what: str) -> Any:
        """Wait for what the exporter or the application says; its first true value."""
        end = time.monotonic() + within
        while not (value := condition()):
            if time.monotonic() > end:
                pytest.fail(f"not within {within} s: {what}\n{self.watch.story()}")
            time.sleep(0.2)
        return value


def image() -> dict[str, str]:
    """The image as kustomize takes it."""
    name, colon, tag = IMAGE.rpartition(":")
    return {"newName": name, "newTag": tag} if colon and "/" not in tag else {"newName": IMAGE, "newTag": "latest"}


def patched(replicas: int, **env: Any) -> dict[str, Any]:
    """A kustomize patch: the number of replicas, and environment variables for the application."""
    container = {"name": "shop", "env": [{"name": key, "value": str(value)} for key, value in env.items()]}
    spec = {"replicas": replicas, "template": {"spec": {"containers": [container]}}}
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}}
    return {"patch": json.dumps({**head, "spec": spec})}


def series(family: str, check: str, kind: str = "httpGet", **labels: str) -> str:
    """A sample's name as the exposition writes it: labels by the alphabet."""
    pairs = sorted({"check": check, "kind": kind, **labels}.items())
    written = ",".join(f'{key}="{value}"' for key, value in pairs)
    return f"{family}{{{written}}}"


def up(group: str) -> str:
    return f'health_group_up{{group="{group}"}}'


def after(*drills: Callable[[Stage], Any]) -> pytest.MarkDecorator:
    """For a test that asks for `seen`: what was seen in this drill, or in each of these."""
    return pytest.mark.parametrize("seen", drills, indirect=True)


def moment(text: str) -> float:
    """The seconds since 1970 of a time as Kubernetes and the log write it."""
    return datetime.fromisoformat(text).timestamp()
