"""A stage for a drill: a separate namespace, with the overlays of k8s/ applied as a user applies them."""

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
from e2e.cluster.kube import Change, Cluster, Watch, is_ready, kubectl, restarts, samples
from support import Answer, command, get

HERE = Path(__file__).parent
OVERLAYS = HERE.parents[2] / "k8s" / "overlays"
EXPORTER = "health-exporter"
IMAGE = os.environ.get("IMAGE", "health-exporter:dev")
STOP_IMMEDIATELY = "import os, time; os.kill(1, 15); time.sleep(0.5); os.kill(1, 15)"
"""The second SIGTERM ends the exporter's drain. SIGKILL from within its container does not affect PID 1."""


class Stage:
    """A namespace that enforces the restricted Pod Security Standard, and a watch on it."""

    def __init__(self, cluster: Cluster, name: str, folder: Path) -> None:
        self.cluster = cluster
        self.namespace = f"health-e2e-{name}-{secrets.token_hex(3)}"
        self.notes: list[str] = []
        self.folder = folder
        self._broken: set[tuple[str, str]] = set()
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}})
        self.watch = Watch(cluster, self.namespace)

    def end(self) -> None:
        self.watch.end()
        kubectl("delete", "namespace", self.namespace, "--wait=false")

    def breaks(self, pod: str, container: str) -> None:
        """Declare that the drill makes this container fail. No other container may be restarted."""
        self._broken.add((pod, container))

    def verify(self) -> None:
        """Fail if a container was restarted that the drill did not break."""
        counts = {
            (change.object["metadata"]["name"], container): count
            for change in self.watch.all("Pod")
            for container, count in restarts(change.object).items()
        }
        if wrong := {name: count for name, count in counts.items() if count and name not in self._broken}:
            pytest.fail(f"restarted although healthy: {wrong}\n{self.watch.story()}")

    def note(self, what: str, seconds: float) -> None:
        """Add a measured time to the summary at the end."""
        self.notes.append(f"{self.namespace}: {what}: {seconds:.1f} s")

    # Actions of a user.

    def create(self, *objects: dict[str, Any]) -> None:
        """Apply objects that are not from an overlay."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(items))

    def apply(
        self, overlay: str, checks: str | None = None, patches: list[Any] | None = None, hashed: bool = False
    ) -> None:
        """Apply a kustomization on top of an overlay: namespace, image, application, checks and patches.

        If the checks are not `hashed`, their ConfigMap keeps its name, and running exporters reload it.
        """
        root = self.folder / f"{overlay}-{secrets.token_hex(3)}"
        root.mkdir()
        maps: list[dict[str, Any]] = []
        if "sidecar" in overlay:
            (root / "application.py").write_bytes((HERE / "application.py").read_bytes())
            maps.append({"name": "shop", "behavior": "replace", "files": ["shop.py=application.py"]})
        if checks is not None:
            (root / "health.yml").write_text(checks)
            options = {"disableNameSuffixHash": not hashed}
            maps.append({"name": EXPORTER, "behavior": "replace", "files": ["health.yml"], "options": options})
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

    def execute(self, pod: str, container: str, *arguments: str) -> None:
        """Run a command in a container. The exit code is ignored, because the command may stop its own container."""
        target = ["exec", "-n", self.namespace, pod, "-c", container, "--"]
        subprocess.run([command("kubectl"), *target, *arguments], capture_output=True, timeout=60, check=False)

    def stop_exporter(self, pod: str, count: int) -> float:
        """End the exporter's container for the nth time, and wait until the exporter responds and has results again.

        Returns the seconds from the start of the new container to the results.
        """
        stopped, restarted = self.end_exporter(pod, count)
        self.until(lambda: self.request(pod, "/livez").status == 200, 240, "the exporter responds")
        self.note(f"exporter missing, stop {count}", time.time() - stopped)
        self.until(lambda: self.request(pod, "/readyz").status == 200, 240, "the exporter has results")
        started = time.time() - restarted
        self.note(f"exporter's start until its first results, stop {count}", started)
        return started

    def end_exporter(self, pod: str, count: int = 1) -> tuple[float, float]:
        """End the exporter's container for the nth time. Returns when, and when the kubelet restarted it."""
        self.breaks(pod, EXPORTER)
        self.execute(pod, EXPORTER, "python3", "-c", STOP_IMMEDIATELY)
        return time.time(), self.restarted(EXPORTER, count, 240)

    # Requests from outside.

    def request(self, pod: str, path: str, port: int = 4584) -> Answer:
        """Send a request to a pod through the API server, which may itself respond with 502 or 503."""
        base = f"{self.cluster.url}/api/v1/namespaces/{self.namespace}/pods/{pod}:{port}/proxy"
        return get(base + path, timeout=30)

    def order(self, pod: str, path: str) -> float:
        """Send a command to the application. Returns the time after the command."""
        assert self.request(pod, path, 8080).status == 200
        return time.time()

    def metrics(self, pod: str) -> dict[str, float]:
        return samples(self.request(pod, "/metrics"))

    def log(self, pod: str) -> str:
        """The exporter's log."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log?container={EXPORTER}"
        return get(self.cluster.url + path, timeout=30).text

    def ready(self, count: int = 1, within: float = 120) -> list[str]:
        """Wait for the number of ready pods. Returns their names."""

        def ready_pods(watch: Watch) -> list[str]:
            return [name for name, pod in watch.pods().items() if is_ready(pod)]

        self.watch.until(lambda watch: len(ready_pods(watch)) == count, within, f"{count} ready pods")
        return sorted(ready_pods(self.watch))

    def restarted(self, container: str, count: int = 1, within: float = 120) -> float:
        """Wait until the kubelet has restarted a container this number of times. Returns when it was reported."""

        def find(watch: Watch) -> Change | None:
            return watch.first("Pod", lambda pod: restarts(pod).get(container, 0) >= count)

        change: Change = self.watch.until(find, within, f"restart {count} of {container}")
        return change.at

    def until(self, condition: Callable[[], Any], within: float, what: str) -> Any:
        """Wait for a condition on the exporter or the application. Returns its first true value."""
        end = time.monotonic() + within
        while not (value := condition()):
            if time.monotonic() > end:
                pytest.fail(f"not within {within} s: {what}\n{self.watch.story()}")
            time.sleep(0.2)
        return value


def image() -> dict[str, str]:
    """The image in the form that kustomize needs."""
    name, colon, tag = IMAGE.rpartition(":")
    return {"newName": name, "newTag": tag} if colon and "/" not in tag else {"newName": IMAGE, "newTag": "latest"}


def patched(replicas: int, **env: Any) -> dict[str, Any]:
    """A kustomize patch: the number of replicas, and environment variables for the application."""
    container = {"name": "shop", "env": [{"name": key, "value": str(value)} for key, value in env.items()]}
    spec = {"replicas": replicas, "template": {"spec": {"containers": [container]}}}
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}}
    return {"patch": json.dumps({**head, "spec": spec})}


def series(family: str, check: str, kind: str = "httpGet", **labels: str) -> str:
    """The name of a sample as on the metrics page, with the labels in alphabetical order."""
    pairs = sorted({"check": check, "kind": kind, **labels}.items())
    written = ",".join(f'{key}="{value}"' for key, value in pairs)
    return f"{family}{{{written}}}"


def up(group: str) -> str:
    return f'health_group_up{{group="{group}"}}'


def after(*drills: Callable[[Stage], Any]) -> pytest.MarkDecorator:
    """Run a test with the fixture `record` for each of these drills."""
    return pytest.mark.parametrize("record", drills, indirect=True)


def moment(text: str) -> float:
    """Unix seconds of a time in the format of Kubernetes and the log."""
    return datetime.fromisoformat(text).timestamp()
