"""The 200 checks of the soak, each with the statuses that are right for it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from .targets import HALF_CYCLE, is_up

SETTLING = 20.0  # seconds in which a check may settle after its target has changed
TOTAL = 200

PASS, FAIL = frozenset({"pass"}), frozenset({"fail"})
ANY = frozenset({"pass", "warn", "fail", "unknown"})  # it depends on the machine

Expect = Callable[[float], frozenset[str]]
"""The statuses that are right at a time (Unix time in seconds)."""


@dataclass(frozen=True)
class Subject:
    """A check of the configuration, and the statuses that are right for it."""

    name: str
    check: dict[str, Any]
    expect: Expect


def always(statuses: frozenset[str]) -> Expect:
    return lambda _: statuses


def as_flapping(now: float) -> frozenset[str]:
    """Right is what the target is, once the check has had time to settle."""
    settled = now % HALF_CYCLE > SETTLING
    return (PASS if is_up(now) else FAIL) if settled else ANY


def build(ports: dict[str, int], folder: str, closed_port: int) -> list[Subject]:
    """Build the checks; those that pass decide about liveness and readiness, so both must always return 200."""
    kinds: list[tuple[str, int, dict[str, Any], Expect]] = [
        *_http(ports, closed_port),
        *_tcp(ports, closed_port),
        *_commands(),
        *_machine(folder),
        *_names_and_certificates(ports, closed_port),
    ]
    subjects = []
    for label, count, kind, expect in kinds:
        groups = ["liveness", "readiness"] if expect is _PASSES else []
        for number in range(count):
            name = f"{label}-{number}"
            timing = {"periodSeconds": 2 if expect is as_flapping else 5, "timeoutSeconds": 2, "failureThreshold": 3}
            subjects.append(Subject(name, {"name": name, **kind, **timing, "groups": groups}, expect))
    assert len(subjects) == TOTAL, len(subjects)
    return subjects


def write(subjects: list[Subject]) -> str:
    """Return the configuration as YAML."""
    return yaml.safe_dump({"checks": [subject.check for subject in subjects]}, sort_keys=False)


def change_one(subjects: list[Subject], reload: int) -> str:
    """Change the severity of one check, and return its name.

    The changed check starts again and is `unknown` until its first run, so it is one that no probe endpoint uses. The
    periods stay, because the number of threads follows from them.
    """
    candidates = [subject for subject in subjects if not subject.check["groups"]]
    check = candidates[reload % len(candidates)].check
    check["severity"] = "critical" if check.get("severity") == "warning" else "warning"
    return str(check["name"])


_PASSES, _FAILS, _DEPENDS = always(PASS), always(FAIL), always(ANY)


def _http(ports: dict[str, int], closed_port: int) -> Iterator[tuple[str, int, dict[str, Any], Expect]]:
    def get(target: str, **options: Any) -> dict[str, Any]:
        return {"httpGet": {"port": ports[target], **options}}

    yield "ok", 43, get("ok"), _PASSES
    yield "ok-by-name", 4, get("ok", host="localhost"), _PASSES
    yield "ok-phases", 4, get("ok", phases=True, bodyContains="healthy"), _PASSES
    yield "flapping", 25, get("flapping"), as_flapping
    yield "silent", 20, get("silent"), _FAILS
    yield "dripping", 6, get("dripping"), _FAILS
    yield "reset", 5, get("reset"), _FAILS
    yield "garbage", 5, get("garbage"), _FAILS
    yield "endless-body", 4, get("endless_body"), _PASSES
    yield "endless-body-search", 2, get("endless_body", bodyContains="healthy"), _FAILS
    yield "endless-head", 2, get("endless_head"), _FAILS
    yield "many-headers", 4, get("many_headers"), _PASSES
    yield "redirect-loop", 4, get("redirect_loop"), _FAILS
    yield "closed-port", 2, {"httpGet": {"port": closed_port}}, _FAILS
    yield "status", 4, get("status_503"), _FAILS
    yield "json", 4, get("json", jsonPath=[{"path": "$.queue.length", "max": 100}]), _PASSES
    yield "json-wrong", 3, get("json", jsonPath=[{"path": "$.status", "equals": "down"}]), _FAILS
    yield "json-nan", 2, get("json_nan", jsonPath=[{"path": "$.ratio", "min": 0, "max": 100}]), _FAILS
    yield "json-deep", 2, get("json_deep", jsonPath=[{"path": "$..status", "equals": "up"}]), _FAILS
    yield "tls", 3, get("tls", scheme="HTTPS"), _PASSES
    yield "tls-unknown-ca", 2, get("tls", scheme="HTTPS", verifyTLS=True), _FAILS
    yield "promql", 2, {"promql": {"url": f"http://127.0.0.1:{ports['prometheus']}", "query": "7", "fail": 10}}, _PASSES


def _tcp(ports: dict[str, int], closed_port: int) -> Iterator[tuple[str, int, dict[str, Any], Expect]]:
    yield "tcp", 4, {"tcpSocket": {"port": ports["ok"]}}, _PASSES
    yield "tcp-banner", 2, {"tcpSocket": {"port": ports["banner"], "expect": "220 "}}, _PASSES
    yield "tcp-silent", 2, {"tcpSocket": {"port": ports["silent"], "expect": "220 "}}, _FAILS
    yield "tcp-closed", 2, {"tcpSocket": {"port": closed_port}}, _FAILS


def _commands() -> Iterator[tuple[str, int, dict[str, Any], Expect]]:
    def shell(script: str) -> dict[str, Any]:
        return {"exec": {"command": ["sh", "-c", script]}}

    yield "exec", 4, {"exec": {"command": ["true"]}}, _PASSES
    yield "exec-fails", 2, shell("echo broken; exit 3"), _FAILS
    yield "exec-hangs", 2, shell("trap '' TERM; sleep 60"), _FAILS
    yield "exec-floods", 2, shell("head -c 20000000 /dev/zero"), _PASSES
    yield "exec-escapes", 2, shell("setsid sleep 4 & exit 0"), _PASSES
    yield "exec-escapes-and-hangs", 1, shell("setsid sleep 8 & sleep 60"), _FAILS


def _machine(folder: str) -> Iterator[tuple[str, int, dict[str, Any], Expect]]:
    yield "disk", 2, {"disk": {"path": folder, "failRatio": 1}}, _DEPENDS
    yield "file", 3, {"file": {"path": f"{folder}/health.yml", "minBytes": 1}}, _PASSES
    yield "file-missing", 2, {"file": {"path": f"{folder}/missing"}}, _FAILS
    yield "process", 2, {"process": {"pidFile": f"{folder}/soak.pid"}}, _PASSES
    yield "process-missing", 2, {"process": {"name": f"missing-{os.getpid()}"}}, _FAILS
    yield "load", 1, {"loadAverage": {"failRatio": 1000}}, _PASSES
    yield "memory", 1, {"memory": {"failRatio": 1}}, _DEPENDS
    yield "cpu", 1, {"cpu": {"failRatio": 1}}, _DEPENDS
    yield "pressure", 1, {"pressure": {"resource": "cpu", "failRatio": 1}}, _DEPENDS


def _names_and_certificates(ports: dict[str, int], closed: int) -> Iterator[tuple[str, int, dict[str, Any], Expect]]:
    def query(name: str) -> dict[str, Any]:
        return {"dns": {"name": name, "server": "127.0.0.1", "port": ports["dns"]}}

    yield "dns", 2, query("good.example.com"), _PASSES
    yield "dns-absent", 2, query("absent.example.com"), _FAILS
    yield "dns-silent", 2, query("silent.example.com"), _FAILS
    yield "certificate", 2, {"certificate": {"port": ports["tls"]}}, _PASSES
    yield "certificate-silent", 1, {"certificate": {"port": ports["silent"]}}, _FAILS
    yield "certificate-closed", 1, {"certificate": {"port": closed}}, _FAILS
