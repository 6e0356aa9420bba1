"""The two addresses of an application in the same pod: 127.0.0.1, the default of `host`, and the pod's own.

The kubelet and Services connect to the pod's address. An application that listens at only one of the two passes a check
at that one, and fails at the other. So a result names the address at which the application listens, if that is not the
address that the check uses and the environment variable POD_IP contains the pod's address. It comes from the kernel:
another connection to the application could do harm, because MySQL blocks addresses that connect without a login.
"""

import os
from collections.abc import Mapping
from dataclasses import replace

from exporter.host.listeners import Listeners
from exporter.model import Outcome, Reason, Status
from exporter.probe.check import Probe
from exporter.probe.options import is_own_address
from exporter.text import format_endpoint

VARIABLE = "POD_IP"
"""The environment variable with the pod's address: in the manifest, `fieldRef: {fieldPath: status.podIP}`."""
LOOPBACK = "127.0.0.1"


def compare_addresses(probe: Probe, outcome: Outcome, environment: Mapping[str, str] = os.environ) -> Outcome:
    """Return the Outcome of a run, with a hint if the application listens at the other address only.

    A run that passed at the default address becomes `warn`, unless the configuration has `host: 127.0.0.1`.
    """
    pod = environment.get(VARIABLE)
    host, port = getattr(probe, "host", None), getattr(probe, "port", None)
    if not pod or host not in (LOOPBACK, pod) or type(port) is not int or getattr(probe, "unix_socket", None):
        return outcome
    if outcome.status.healthy:
        by_default = "host" not in probe.model_fields_set
        hint = _hint_at_loopback(pod, port, Listeners(port)) if by_default else ""
        return _warn(outcome, hint) if hint else outcome
    if outcome.status is Status.FAIL and outcome.reason is Reason.CONNECT:
        hint = _hint_at_other(host, pod, port, Listeners(port))
        return replace(outcome, summary=f"{outcome.summary}; {hint}") if hint else outcome
    return outcome


def _hint_at_loopback(pod: str, port: int, listeners: Listeners) -> str:
    if not listeners or listeners.cover(pod) or not is_own_address(pod):
        return ""
    return (
        f"nothing listens at the pod's address {format_endpoint(pod, port)}, where the kubelet and Services connect: "
        f"write host: $({VARIABLE}), or host: {LOOPBACK} if only this pod may connect"
    )


def _hint_at_other(host: str, pod: str, port: int, listeners: Listeners) -> str:
    other = pod if host == LOOPBACK else LOOPBACK
    if listeners.cover(host) or not listeners.cover(other) or not is_own_address(pod):
        return ""
    if other == pod:
        return f"the application listens at the pod's address {format_endpoint(pod, port)}: write host: $({VARIABLE})"
    return f"the application listens only at {LOOPBACK}, where the kubelet and Services cannot connect"


def _warn(outcome: Outcome, hint: str) -> Outcome:
    reason = outcome.reason or Reason.CONNECT
    return replace(outcome, status=Status.WARN, reason=reason, summary=f"{outcome.summary}; {hint}")
