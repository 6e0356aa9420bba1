"""The application as others deploy it: with probes of each handler, as users have them, or as a server for several."""

from pathlib import Path
from typing import Any

import trustme
from e2e.cluster.drill import IMAGE, Stage

SCRIPT = Path(__file__).parent / "application.py"
HTTP = {"path": "/health", "port": 8080}
PROBES: dict[str, dict[str, Any]] = {
    "http-get": {"livenessProbe": {"httpGet": HTTP}, "readinessProbe": {"httpGet": {**HTTP, "path": "/ready"}}},
    "named-port": {"livenessProbe": {"httpGet": {"path": "/health", "port": "web"}, "initialDelaySeconds": 2}},
    "https": {
        "livenessProbe": {
            "httpGet": {
                "path": "/health",
                "port": 8443,
                "scheme": "HTTPS",
                "httpHeaders": [{"name": "X-Probe", "value": "kubelet"}],
            },
            "terminationGracePeriodSeconds": 5,
        },
    },
    "tcp-socket": {
        "livenessProbe": {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 5, "periodSeconds": 20},
        "readinessProbe": {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 5, "periodSeconds": 10},
    },
    "grpc": {
        "livenessProbe": {"grpc": {"port": 9090}},
        "startupProbe": {"grpc": {"port": 9090}, "failureThreshold": 9},
    },
    "exec": {
        "livenessProbe": {"exec": {"command": ["cat", "/tmp/healthy"]}, "initialDelaySeconds": 1},
        "readinessProbe": {"httpGet": HTTP},
    },
}
"""The probes of each Deployment by its name."""
FAULTS = {"tcp-socket": "/stop", "grpc": "/mode/grpc/failing"}
"""The request that makes the liveness probe fail, if it is not `/mode/health/failing`."""


def deployments(namespace: str) -> list[dict[str, Any]]:
    """All of them, and what they share: the script, and a certificate that nobody trusts."""
    certificate = trustme.CA().issue_cert("application")
    pem = certificate.private_key_and_cert_chain_pem.bytes().decode()
    meta = {"name": "application", "namespace": namespace}
    data = {"application.py": SCRIPT.read_text(), "server.pem": pem}
    shared = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
    return [shared, *(deployment(namespace, name) for name in PROBES)]


def deployment(namespace: str, name: str, env: dict[str, str] | None = None, **container: Any) -> dict[str, Any]:
    """A Deployment with the probes of this name, if there are any."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [{**application(env or {}), **PROBES.get(name, {}), **container}],
                    "volumes": [{"name": "application", "configMap": {"name": "application"}}],
                },
            },
        },
    }


def application(env: dict[str, str]) -> dict[str, Any]:
    values = {"CERTIFICATE": "/app/server.pem", "GRPC": "1", **env}
    pod_ip = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    return {
        "name": "application",
        "image": IMAGE,
        "command": ["sh", "-c", "touch /tmp/healthy && exec python3 /app/application.py"],
        "env": [pod_ip, *({"name": key, "value": value} for key, value in values.items())],
        "ports": [{"name": "web", "containerPort": 8080}],
        "volumeMounts": [{"name": "application", "mountPath": "/app"}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def start_server(stage: Stage, name: str) -> str:
    """Start the application, in a pod and behind a Service of this name. Returns the Service's address."""
    script = SCRIPT.read_text()
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
    head = {"apiVersion": "v1", "metadata": {"name": name, "namespace": stage.namespace, "labels": {"app": name}}}
    stage.create(
        {**head, "kind": "ConfigMap", "data": {"application.py": script}},
        {**head, "kind": "Pod", "spec": spec},
        {
            **head,
            "kind": "Service",
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    )
    stage.watch.until(lambda watch: name in watch.endpoints(), 120, f"{name} receives traffic")
    service = stage.cluster.read(f"/api/v1/namespaces/{stage.namespace}/services/{name}")
    return str(service["spec"]["clusterIP"])
