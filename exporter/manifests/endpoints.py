"""The probes of a container -> probes of the exporter's endpoints.

A new probe clears each field that the old one had and the new one has not. `kubectl apply` merges the manifest with the
object in the cluster. If that object was not made by `kubectl apply`, nothing records which fields were removed: an old
`tcpSocket` would stay alongside the new `httpGet`, and an old `scheme` or `host` would lead the kubelet elsewhere, and
restart a healthy application. Server-side apply keeps a null handler that another manager owns, and the API server
then refuses the probe.
"""

from collections.abc import Mapping
from typing import Any

from exporter.config.pasted import PROBES
from exporter.manifests import timing
from exporter.manifests.configuration import Configuration
from exporter.manifests.probes import EXEC, OldProbe
from exporter.manifests.sidecar import PORT
from exporter.manifests.timing import Gate, Timing
from exporter.model import Group

PATHS = {Group.LIVENESS: "/livez", Group.READINESS: "/readyz", Group.STARTUP: "/startupz"}
_EMPTY: dict[str, Any] = {"host": "", "httpHeaders": []}
"""Fields of httpGet that the exporter's probes do not use, with the value that clears them."""


def choose_probes(probes: Mapping[str, OldProbe], configuration: Configuration, *, own: bool) -> dict[str, Timing]:
    """Return the numbers of the new probes: one for each question that has checks. Other probes stay as they are.

    `own` means that the checks are the user's own, which replace also exec probes.
    """
    checks = configuration.checks
    keys = [
        key for key, group in PROBES.items() if checks[group] and (own or key not in probes or probes[key].kind != EXEC)
    ]
    old = {key: probe.timing for key, probe in probes.items()}
    gate = Gate.OTHER if "startupProbe" in {*keys, *probes} else Gate.NONE
    if "startupProbe" in keys and configuration.startup_first:
        gate = Gate.SAME
    chosen: dict[str, Timing] = {}
    for key in keys:
        group = PROBES[key]
        if group is Group.LIVENESS:
            chosen[key] = timing.choose_liveness(old.get(key), checks[group], gate)
        elif group is Group.READINESS:
            chosen[key] = timing.choose_readiness(old.get(key), checks[group])
        else:
            gates = [old[name] for name in ("startupProbe", "livenessProbe") if name in old]
            chosen[key] = timing.choose_startup(gates, checks[group])
    return chosen


def make_probe(key: str, numbers: Timing, probes: Mapping[str, OldProbe]) -> dict[str, Any]:
    """Return the probe of the exporter that asks the question of this key."""
    old = probes[key].data if key in probes else {}
    handler = old.get("httpGet") or {}
    new: dict[str, Any] = {
        "httpGet": {
            "path": PATHS[PROBES[key]],
            "port": PORT,
            "scheme": "HTTP",
            **{field: _EMPTY[field] for field in _EMPTY if field in handler},
        },
        **timing.format_timing(numbers, old),
    }
    grace = _find_grace(key, probes)
    if grace is not None:
        new["terminationGracePeriodSeconds"] = grace
    return new | {field: None for field in sorted(old) if field not in new}


def _find_grace(key: str, probes: Mapping[str, OldProbe]) -> Any:
    """Return the terminationGracePeriodSeconds of the new probe: a restart ends as gracefully as before."""
    places = {"livenessProbe": ("livenessProbe",), "startupProbe": ("startupProbe", "livenessProbe")}.get(key, ())
    values = (probes[name].data.get("terminationGracePeriodSeconds") for name in places if name in probes)
    return next((value for value in values if value is not None), None)
