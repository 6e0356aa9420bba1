"""Modules of blackbox_exporter with the probers `tcp`, `icmp`, `dns` and `grpc` -> checks."""

import re
from typing import Any

from exporter.kinds.dns import Dns
from exporter.manifests.credentials import convert_tls
from exporter.manifests.scrapes import Target
from exporter.manifests.section import Section, is_literal
from exporter.net.echo import MAX_PAYLOAD

_IP = "both IPv6 and IPv4 are tried"
_SOURCE = "the kernel chooses the source address"
_RECORDS = "dns compares whole records: write them in expect"
_TCP_HINTS = {"preferred_ip_protocol": _IP, "ip_protocol_fallback": _IP, "source_ip_address": _SOURCE}
_ICMP_HINTS = {**_TCP_HINTS, "ttl": "icmp sends the time to live that is the default of the system"}
_DNS_HINTS = {
    **_TCP_HINTS,
    "recursion_desired": "dns always asks for recursion",
    "transport_protocol": "dns uses UDP, and TCP if a response is too long for it",
    "validate_additional_rrs": "dns does not check the additional records",
    "validate_answer_rrs": _RECORDS,
    "validate_authority_rrs": "dns does not check the authority records",
}
_GRPC_HINTS = {**_TCP_HINTS, "metadata": "grpc sends no metadata"}
# What is sent before TLS starts, and the protocol in which startTLS sends it.
_STARTTLS = {"(?i)(EHLO|HELO)[^\n]*\n(.*\n)*STARTTLS": "smtp", "(?i)STARTTLS": "imap", "(?i)STLS": "pop3"}
_DEFAULTS = {"ip_protocol_fallback": True, "recursion_desired": True, "transport_protocol": "udp"}
_TYPES = Dns.model_json_schema()["properties"]["type"]["enum"]
_CODES = Dns.model_json_schema()["properties"]["expectRcode"]["items"]["enum"]
# host:port, [address]:port, and either of them without a port
_ENDPOINT = re.compile(r"(?:\[(?P<address>[^\]]*)\]|(?P<host>[^:\s]*))(?::(?P<port>\d{1,5}))?")


def build_tcp(module: Section, target: Target) -> list[dict[str, Any]]:
    """Return a tcpSocket check, and with TLS a certificate check or both. Raises ValueError."""
    host, port = _split(target.address)
    if not port:
        raise ValueError("the target has no port")
    tls = convert_tls(module.take_section("tls_config"))
    protocol, steps = _find_starttls(module)
    starts = {"startTLS": protocol} if protocol else {"tls": True} if module.take_flag("tls") else {}
    options = {"host": host, "port": port, **_convert_dialogue(module, steps)}
    module.close(_TCP_HINTS, _DEFAULTS)
    if not starts:
        return [{"tcpSocket": options}]
    if not tls.verify:
        module.note("changed: a certificate that has expired fails", "tls_config", "insecure_skip_verify")
    shared: dict[str, Any] = {"serverName": name} if (name := tls.server_name or target.hostname) else {}
    shared |= {"caFile": tls.ca_file} if tls.ca_file else {}
    shared |= {"clientCertificate": tls.certificate} if tls.certificate else {}
    certificate = {"host": host, "port": port, "failDays": 0, **({"startTLS": protocol} if protocol else {})}
    checks = [{"certificate": certificate | ({"verify": True} if tls.verify else {}) | shared}]
    if "expect" in options or "expectMatches" in options:
        checks.append({"tcpSocket": options | starts | ({"verifyTLS": True} if tls.verify else {}) | shared})
    return checks


def _find_starttls(module: Section) -> tuple[str, list[dict[str, Any]]]:
    """Return the protocol in which the steps of a module start TLS, if they do, and the steps for texts."""
    steps = [step if isinstance(step, dict) else {} for step in module.take_list("query_response")]
    index = next((index for index, step in enumerate(steps) if step.get("starttls")), None)
    if index is None:
        return "", steps
    sent = "\n".join(str(step.get("send", "")) for step in steps[: index + 1])
    for pattern, protocol in _STARTTLS.items():
        if re.search(pattern, sent):
            return protocol, steps[index + 1 :]
    module.note("left out: startTLS does not know this protocol", "query_response")
    return "", []


def _convert_dialogue(module: Section, steps: list[dict[str, Any]]) -> dict[str, str]:
    """Return the texts to send before the first one that is expected, and that one.

    In each step, blackbox_exporter expects first, and then sends. It adds a line feed to what it sends, and searches
    each line that it receives (prober/query_response.go).
    """
    first = next((index for index, step in enumerate(steps) if _expects(step)), len(steps))
    ahead, rest = steps[:first], steps[first + 1 :]
    if not steps:
        return {}
    if first == len(steps) or module.has_unreadable("query_response"):
        module.note("left out: tcpSocket sends a text in UTF-8, and only to expect one", "query_response")
        return {}
    if rest or steps[first].keys() - {"expect", "expect_bytes"}:
        module.note("left out: everything after the first expected text", "query_response")
    sent = "".join(f"{step['send']}\n" for step in ahead if step.get("send"))
    return {**({"send": sent} if sent else {}), **_convert_expected(steps[first])}


def _expects(step: dict[str, Any]) -> bool:
    return bool(step.get("expect") or step.get("expect_bytes"))


def _convert_expected(step: dict[str, Any]) -> dict[str, str]:
    if step.get("expect_bytes"):
        return {"expect": str(step["expect_bytes"])}
    pattern = str(step["expect"])
    if is_literal(pattern):
        return {"expect": pattern}
    of_a_line = re.sub(r"(?<!\\)[$]$", r"\\r?$", pattern)  # a line may end with CR LF
    return {"expectMatches": f"(?m){of_a_line}" if re.search(r"[\^$]", of_a_line) else of_a_line}


def build_icmp(module: Section, target: Target) -> list[dict[str, Any]]:
    """Return an icmp check. Raises ValueError."""
    host, port = _split(target.address)
    if port:
        raise ValueError("the target has a port, which ICMP does not have")
    options: dict[str, Any] = {"host": host}
    size = module.take("payload_size") or 0
    if isinstance(size, int) and 0 <= size <= MAX_PAYLOAD:
        options |= {"payloadBytes": size} if size else {}
    else:
        module.note("left out: an echo request does not have a payload of this size", "payload_size")
    options |= {"dontFragment": True} if module.take_flag("dont_fragment") else {}
    module.close(_ICMP_HINTS, _DEFAULTS)
    return [{"icmp": options}]


def build_dns(module: Section, target: Target) -> list[dict[str, Any]]:
    """Return a dns check. Raises ValueError."""
    if module.take_flag("dns_over_tls"):
        raise ValueError("dns does not use TLS")
    if (module.take_text("query_class") or "IN") != "IN":
        raise ValueError("dns queries only the class IN")
    server, port = _split(target.address)
    options: dict[str, Any] = {"name": module.take_text("query_name") or "", "server": server}
    options |= {"port": port} if port not in (None, 53) else {}
    kind = module.take_text("query_type") or "ANY"
    if kind in _TYPES:
        options["type"] = kind
    else:
        module.note("changed: dns does not query this type; it queries A", "query_type")
    codes = [str(code) for code in module.take_list("valid_rcodes")]
    known = [code for code in codes if code in _CODES]
    if known != codes:
        module.note("changed: dns does not know all of these codes", "valid_rcodes")
    options |= {"expectRcode": known} if known and known != ["NOERROR"] else {}
    if not known or "NOERROR" in known:
        options["minAnswers"] = 0
    module.close(_DNS_HINTS, _DEFAULTS)
    return [{"dns": options}]


def build_grpc(module: Section, target: Target) -> list[dict[str, Any]]:
    """Return a grpc check. Raises ValueError."""
    tls = convert_tls(module.take_section("tls_config"))
    host, port = _split(re.sub("^https?://", "", target.address).partition("/")[0])
    options: dict[str, Any] = {"host": host, "port": port or 80}
    options |= {"service": service} if (service := module.take_text("service")) else {}
    if module.take_flag("tls"):
        options["mode"] = "TLS"
        options |= {"verifyTLS": True} if tls.verify else {}
        options |= {"serverName": name} if (name := tls.server_name or target.hostname) else {}
        options |= {"caFile": tls.ca_file} if tls.ca_file else {}
        options |= {"clientCertificate": tls.certificate} if tls.certificate else {}
    module.close(_GRPC_HINTS, _DEFAULTS)
    return [{"grpc": options}]


def _split(address: str) -> tuple[str, int | None]:
    """Return host and port of a target. Raises ValueError."""
    match = _ENDPOINT.fullmatch(address)
    if match is None:
        if address.count(":") > 1:  # IPv6 without brackets
            return address, None
        raise ValueError("the target is not HOST:PORT")
    return match["address"] or match["host"], int(match["port"]) if match["port"] else None
