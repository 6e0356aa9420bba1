"""A module of blackbox_exporter with the prober `websocket` -> a check. No release up to 0.28 has it."""

from typing import Any

from exporter.manifests.credentials import convert_tls
from exporter.manifests.http_module import convert_credentials, convert_header_values
from exporter.manifests.scrapes import Target
from exporter.manifests.section import Section, is_literal
from exporter.net import url

_IP = "both IPv6 and IPv4 are tried"
_HINTS = {"preferred_ip_protocol": _IP, "ip_protocol_fallback": _IP}
_DEFAULTS = {"ip_protocol_fallback": True}
_CLIENT_DEFAULTS = {"follow_redirects": True, "enable_http2": True}  # blackbox_exporter does not use them either


def build(module: Section, target: Target) -> list[dict[str, Any]]:
    """Return a websocket check. Raises ValueError."""
    requested = url.parse(target.address)
    if requested.scheme not in ("ws", "wss") or not requested.hostname:
        raise ValueError("the target is not a URL with the scheme ws or wss")
    secure = requested.scheme == "wss"
    options: dict[str, Any] = {"host": requested.hostname, "port": requested.port or (443 if secure else 80)}
    options |= {"path": requested.target.replace("$(", "$$(")} if requested.target != "/" else {}
    if requested.query:
        module.note(
            f"warning: {target.public}: the query of the URL may be a secret, which the configuration now shows"
        )
    client = module.take_section("http_config")
    tls = convert_tls(client.take_section("tls_config"))
    if secure:
        options |= {"scheme": "WSS"} | ({"verifyTLS": True} if tls.verify else {})
        options |= {"serverName": tls.server_name} if tls.server_name else {}
        options |= {"caFile": tls.ca_file} if tls.ca_file else {}
        options |= {"clientCertificate": tls.certificate} if tls.certificate else {}
    headers = convert_header_values(module, "headers")
    options |= {"httpHeaders": [{"name": name, "value": value} for name, value in headers.items()]} if headers else {}
    options |= convert_credentials(client, requested)
    options |= _convert_dialogue(module)
    client.close({}, _CLIENT_DEFAULTS)
    module.close(_HINTS, _DEFAULTS)
    return [{"websocket": options}]


def _convert_dialogue(module: Section) -> dict[str, str]:
    """Return the text to send and the one to expect: blackbox_exporter first expects, and then sends, in each step."""
    steps = [step if isinstance(step, dict) else {} for step in module.take_list("query_response")]
    if not steps:
        return {}
    first = next((index for index, step in enumerate(steps) if step.get("expect")), len(steps))
    sent = [str(step["send"]) for step in steps[:first] if step.get("send")]
    if first == len(steps) or len(sent) > 1 or module.has_unreadable("query_response"):
        module.note("left out: websocket sends one text, and only to expect one", "query_response")
        return {}
    if steps[first + 1 :] or steps[first].keys() - {"expect"}:
        module.note("left out: everything after the first expected text", "query_response")
    module.note("changed: any message may have the expected text, not only the first one", "query_response")
    pattern = str(steps[first]["expect"])
    expected = {"expect": pattern} if is_literal(pattern) else {"expectMatches": pattern}
    return {**({"send": sent[0]} if sent else {}), **expected}
