"""The kind `icmp`: whether a host replies to an ICMP echo request."""

from typing import Annotated, ClassVar

from pydantic import Field

from exporter.model import Deadline, Outcome
from exporter.net.echo import MAX_PAYLOAD, ping
from exporter.net.errors import DialError
from exporter.net.resolver import RESOLVER, Resolver
from exporter.probe.check import Probe
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Host, find_host_risk


class Icmp(Probe):
    """Sends an ICMP echo request, as `ping` does, and passes when its reply arrives within the timeout.

    Each run sends one request, so set `failureThreshold` to the number of lost packets that counts as a failure. If a
    name has several addresses, each gets one request and an equal share of the timeout, until one replies. A reply
    counts only if it comes from that address and repeats the request's identifier, sequence number and payload. When a
    router or the host reports that the request was not delivered, or that its time to live was exceeded, the check
    fails at once with the reason `connect`.

    A reply shows that the network and the kernel of the host respond, not that an application does. The kubelet has no
    such probe. In blackbox_exporter, the prober `icmp` does the same; `convert` reads its modules.

    A process needs a permission to send the request. Either the sysctl `net.ipv4.ping_group_range` includes its group,
    for IPv6 too, or it has the capability `NET_RAW`. Without both, the check is `unknown` with the reason `permission`.
    Docker and containerd 2 include all groups by default. Elsewhere, set the sysctl in the pod's `securityContext`:
    `sysctls: [{name: net.ipv4.ping_group_range, value: "0 2147483647"}]`. Kubernetes counts it as safe.

    A pod with `hostNetwork` cannot set it. There, set the sysctl on the node, or add `NET_RAW`, which only a container
    that runs as root can use.
    """

    measures: ClassVar = LATENCY
    examples: ClassVar = (
        "- name: gateway\n  icmp: {host: 10.0.0.1}",
        "- name: vpn\n  icmp: {host: 10.8.0.1, payloadBytes: 1372, dontFragment: true}\n  failureThreshold: 3",
    )

    host: Host
    """Address or name to send the request to."""
    payload_bytes: Annotated[int, Field(strict=True, ge=0, le=MAX_PAYLOAD)] = 56
    """Size of the payload. The packet has 28 more bytes with IPv4, and 48 with IPv6."""
    dont_fragment: Annotated[bool, Field(strict=True)] = False
    """Fails when the packet is too long for a link on the way, instead of fragmenting it."""

    @property
    def target(self) -> str:
        return self.host

    def liveness_risk(self) -> str | None:
        return find_host_risk(self.host)

    def probe(self, deadline: Deadline, resolver: Resolver = RESOLVER) -> Outcome:
        timer = LatencyTimer()
        try:
            address = ping(self.host, self.payload_bytes, deadline, resolver, fragment=not self.dont_fragment)
        except DialError as error:
            return error.outcome(self.target)
        named = "" if address == self.host else f" ({address})"
        return Outcome.passed(f"{self.host}{named} replied", timer.stop())
