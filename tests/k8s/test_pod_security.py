"""The pods comply with the Pod Security Standard "restricted", as the API server enforces it."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from k8s.kustomized import OVERLAYS, SIDECARS, Object, containers, pod

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
}
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HOOKS = ("postStart", "preStop")


def violations(spec: Object) -> Iterator[str]:
    """The violations of the standard by a pod, as of Kubernetes 1.34. For Linux, without ephemeral containers."""
    context = spec.get("securityContext", {})
    yield from (field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field))
    yield from (f"sysctl {sysctl['name']}" for sysctl in context.get("sysctls", []) if sysctl["name"] not in SYSCTLS)
    if context.get("runAsUser") == 0:
        yield "runAsUser of the pod"
    for volume in spec.get("volumes", []):
        yield from (f"volume of type {type_}" for type_ in volume.keys() - {"name"} - VOLUMES)
    for container in containers(spec):
        yield from (f"{container['name']}: {violation}" for violation in container_violations(container, context))


def container_violations(container: Object, pod_context: Object) -> Iterator[str]:
    own = container.get("securityContext", {})
    merged = {**pod_context, **own}
    capabilities = own.get("capabilities", {})
    found: dict[str, Any] = {
        "privileged": own.get("privileged"),
        "procMount": own.get("procMount", "Default") != "Default",
        "hostPort": any(port.get("hostPort") for port in container.get("ports", [])),
        "does not drop ALL": "ALL" not in capabilities.get("drop", []),
        "adds capabilities": set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"},
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
        "runAsNonRoot": merged.get("runAsNonRoot") is not True,
        "runAsUser": own.get("runAsUser") == 0,
        "seccompProfile": merged.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
        "appArmorProfile": merged.get("appArmorProfile", {}).get("type") == "Unconfined",
        "seLinuxOptions": merged.get("seLinuxOptions", {}).keys() & {"user", "role"},
        "host of a probe or hook": any(probed_hosts(container)),
    }
    return (violation for violation, present in found.items() if present)


def probed_hosts(container: Object) -> Iterator[str]:
    """The hosts in probes and hooks, forbidden since 1.34: the kubelet may reach hosts that the pod may not."""
    handlers = [container.get(probe, {}) for probe in PROBES]
    handlers += [container.get("lifecycle", {}).get(hook, {}) for hook in HOOKS]
    for handler in handlers:
        yield from (handler.get(method, {}).get("host", "") for method in ("httpGet", "tcpSocket"))


def test_every_overlay_complies_with_restricted() -> None:
    found = [f"{name}: {violation}" for name in OVERLAYS for violation in violations(pod(name))]
    assert not found, "\n".join(found)


def test_every_root_filesystem_is_read_only_and_every_user_is_a_number() -> None:
    """The standard does not require this."""
    expected = {"readOnlyRootFilesystem": True, "runAsUser": 65532, "runAsGroup": 65532}
    found = {
        f"{name}: {container['name']}": {**pod(name)["securityContext"], **container["securityContext"]}
        for name in OVERLAYS
        for container in containers(pod(name))
    }
    assert len(found) == len(OVERLAYS) + len(SIDECARS)
    others = [f"{place}: {context}" for place, context in found.items() if not expected.items() <= context.items()]
    assert not others, "\n".join(others)


def test_the_only_exception_is_the_hostpath_of_the_component_host_disk() -> None:
    assert list(violations(pod("daemonset", ("host-disk",)))) == ["volume of type hostPath"]


def mutations() -> dict[str, Callable[[Object, Object], Any]]:
    """Changes to a pod and its first container, by the violation they cause."""
    context = "securityContext"
    return {
        "hostNetwork": lambda spec, _: spec.update(hostNetwork=True),
        "hostPID": lambda spec, _: spec.update(hostPID=True),
        "hostIPC": lambda spec, _: spec.update(hostIPC=True),
        "volume of type hostPath": lambda spec, _: spec["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
        "sysctl kernel.msgmax": lambda spec, _: spec[context].update(sysctls=[{"name": "kernel.msgmax"}]),
        "runAsUser of the pod": lambda spec, _: spec[context].update(runAsUser=0),
        "privileged": lambda _, first: first[context].update(privileged=True),
        "procMount": lambda _, first: first[context].update(procMount="Unmasked"),
        "hostPort": lambda _, first: first["ports"][0].update(hostPort=4584),
        "does not drop ALL": lambda _, first: first[context]["capabilities"].update(drop=["NET_RAW"]),
        "adds capabilities": lambda _, first: first[context]["capabilities"].update(add=["SYS_ADMIN"]),
        "allowPrivilegeEscalation": lambda _, first: first[context].pop("allowPrivilegeEscalation"),
        "runAsNonRoot": lambda spec, _: spec[context].pop("runAsNonRoot"),
        "runAsUser": lambda _, first: first[context].update(runAsUser=0),
        "seccompProfile": lambda spec, _: spec[context].pop("seccompProfile"),
        "appArmorProfile": lambda _, first: first[context].update(appArmorProfile={"type": "Unconfined"}),
        "seLinuxOptions": lambda _, first: first[context].update(seLinuxOptions={"user": "root"}),
        "host of a probe or hook": lambda _, first: first["livenessProbe"]["httpGet"].update(host="127.0.0.1"),
    }


@pytest.mark.parametrize("violation", mutations())
def test_each_violation_of_the_standard_is_detected(violation: str) -> None:
    spec = copy.deepcopy(pod("standalone"))
    mutations()[violation](spec, spec["containers"][0])
    assert [found.removeprefix("health-exporter: ") for found in violations(spec)] == [violation]
