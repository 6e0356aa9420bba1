"""The pods keep the Pod Security Standard "restricted", as the API server enforces it."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kustomized import OVERLAYS, Object, containers, pod

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
    """What the standard's checks, of Kubernetes 1.34, have against a pod. Linux only, and no ephemeral containers."""
    own = spec.get("securityContext", {})
    yield from (each for each in ("hostNetwork", "hostPID", "hostIPC") if spec.get(each))
    yield from (f"sysctl {each['name']}" for each in own.get("sysctls", []) if each["name"] not in SYSCTLS)
    if own.get("runAsUser") == 0:
        yield "runAsUser of the pod"
    for volume in spec.get("volumes", []):
        yield from (f"volume of type {each}" for each in volume.keys() - {"name"} - VOLUMES)
    for each in containers(spec):
        yield from (f"{each['name']}: {what}" for what in _of_container(each, own))


def _of_container(container: Object, of_pod: Object) -> Iterator[str]:
    own = container.get("securityContext", {})
    both = {**of_pod, **own}
    capabilities = own.get("capabilities", {})
    found: dict[str, Any] = {
        "privileged": own.get("privileged"),
        "procMount": own.get("procMount", "Default") != "Default",
        "hostPort": any(port.get("hostPort") for port in container.get("ports", [])),
        "does not drop ALL": "ALL" not in capabilities.get("drop", []),
        "adds capabilities": set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"},
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
        "runAsNonRoot": both.get("runAsNonRoot") is not True,
        "runAsUser": own.get("runAsUser") == 0,
        "seccompProfile": both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
        "appArmorProfile": both.get("appArmorProfile", {}).get("type") == "Unconfined",
        "seLinuxOptions": both.get("seLinuxOptions", {}).keys() & {"user", "role"},
        "host of a probe or hook": any(_hosts(container)),
    }
    return (what for what, bad in found.items() if bad)


def _hosts(container: Object) -> Iterator[str]:
    """Since 1.34: a probe or a hook that names a host could make the kubelet look where the pod may not."""
    looks = [container.get(probe, {}) for probe in PROBES]
    looks += [container.get("lifecycle", {}).get(hook, {}) for hook in HOOKS]
    for look in looks:
        yield from (look.get(way, {}).get("host", "") for way in ("httpGet", "tcpSocket"))


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_restricted(name: str) -> None:
    assert list(violations(pod(name))) == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_more_than_the_standard_asks_no_root_filesystem_is_written_and_the_user_is_a_number(name: str) -> None:
    for each in containers(pod(name)):
        own = {**pod(name)["securityContext"], **each["securityContext"]}
        assert own["readOnlyRootFilesystem"] is True
        assert own["runAsUser"] == own["runAsGroup"] == 65532


def test_the_one_exception_is_the_hostpath_of_its_component() -> None:
    assert list(violations(pod("daemonset", ("host-disk",)))) == ["volume of type hostPath"]


def _mutations() -> dict[str, Callable[[Object, Object], Any]]:
    """What must be noticed: changes of a pod and of its first container."""
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


@pytest.mark.parametrize("what", _mutations())
def test_what_the_standard_forbids_is_noticed(what: str) -> None:
    spec = copy.deepcopy(pod("standalone"))
    _mutations()[what](spec, spec["containers"][0])
    assert [each.removeprefix("health-exporter: ") for each in violations(spec)] == [what]
