"""A module of blackbox_exporter with the prober `http` -> checks of the kind httpGet."""

import re
from itertools import zip_longest
from typing import Any
from urllib.parse import unquote

from exporter.manifests.credentials import SECRET_HEADER, convert_tls, refer
from exporter.manifests.scrapes import Target
from exporter.manifests.section import Section, is_literal, is_true
from exporter.net import url

# The 2xx codes of the IANA registry. Without valid_status_codes, blackbox_exporter accepts 200 to 299.
_SUCCESSFUL = [200, 201, 202, 203, 204, 205, 206, 207, 208, 226]
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_JSON = "there is no CEL; write the condition as jsonPath"
_IP = "both IPv6 and IPv4 are tried"
_DIRECT = "a check connects without a proxy"
_SCHEME = "the scheme of the target decides"
_HINTS = {
    "body_file": "copy the content of the file to body",
    "body_size_limit": "httpGet reads only the beginning of a body, and does not limit its size",
    "compression": "httpGet decodes gzip and deflate without it, and no other compression",
    "enable_http2": "over TLS, httpGet uses HTTP/2 if the server chooses it",
    "enable_http3": "httpGet does not speak HTTP/3",
    "fail_if_body_json_matches_cel": _JSON,
    "fail_if_body_json_not_matches_cel": _JSON,
    "fail_if_not_ssl": _SCHEME,
    "fail_if_ssl": _SCHEME,
    "ip_protocol_fallback": _IP,
    "oauth2": "name a file as bearerToken, and keep the token in it up to date",
    "preferred_ip_protocol": _IP,
    "proxy_url": _DIRECT,
    "proxy_from_environment": _DIRECT,
    "proxy_connect_header": _DIRECT,
    "skip_resolve_phase_with_proxy": _DIRECT,
    "valid_http_versions": "httpGet does not check the version of HTTP",
}
_DEFAULTS = {"ip_protocol_fallback": True, "enable_http2": True}


def build(module: Section, target: Target) -> list[dict[str, Any]]:
    """Return the options of the checks; several if the body must match several patterns. Raises ValueError."""
    address = target.address if re.match("https?://", target.address, re.IGNORECASE) else f"http://{target.address}"
    requested = url.parse(address)
    if not requested.hostname:
        raise ValueError("the target has no host")
    secure = requested.scheme == "https"
    options: dict[str, Any] = {"host": requested.hostname, "port": requested.port or (443 if secure else 80)}
    if requested.target != "/":
        path = str(requested) if requested.path.startswith("//") else requested.target
        options["path"] = path.replace("$(", "$$(")
    if requested.query:
        module.note(
            f"warning: {target.public}: the query of the URL may be a secret, which the configuration now shows"
        )
    options |= {"scheme": "HTTPS"} if secure else {}
    headers = _convert_headers(module, requested, target)
    options |= {"httpHeaders": [{"name": name, "value": value} for name, value in headers.items()]} if headers else {}
    options |= _convert_request(module)
    options["expectStatus"] = _convert_codes(module)
    options |= _convert_redirects(module)
    options |= _convert_security(module, headers.get("Host", requested.host), requested.hostname, secure=secure)
    options |= convert_credentials(module, requested)
    options |= _convert_forbidden_texts(module)
    options |= _convert_response_headers(module)
    patterns = _convert_patterns(module)
    module.close(_HINTS, _DEFAULTS)
    return [{"httpGet": {**options, **pattern}} for pattern in patterns]


def _convert_headers(module: Section, requested: url.Url, target: Target) -> dict[str, str]:
    """Return the headers by their names, without secrets.

    blackbox_exporter sends the host as the URL has it; the kubelet and httpGet add the port.
    """
    headers = {"Host": requested.host} if requested.port is None else {}
    for name, value in module.take_mapping("headers").items():
        if SECRET_HEADER.search(name):
            module.note(
                "left out: it may be a secret; for Authorization, write bearerToken or basicAuth", "headers", name
            )
        else:
            headers["Host" if name.lower() == "host" else name] = str(value)
    headers |= convert_header_values(module, "http_headers")
    return {**headers, **({"Host": target.hostname} if target.hostname else {})}


def convert_header_values(section: Section, key: str) -> dict[str, str]:
    """Return the headers of a mapping in which each has lists of values, secrets and files; without the last two."""
    headers: dict[str, str] = {}
    for name, sources in section.take_mapping(key).items():
        values = sources.get("values") if isinstance(sources, dict) else None
        if isinstance(values, list) and len(values) == len(sources) == 1 and not SECRET_HEADER.search(name):
            headers[name] = str(values[0])
        else:
            section.note("left out: a check has one value for a header, which is not a secret", key, name)
    return headers


def _convert_request(module: Section) -> dict[str, Any]:
    options: dict[str, Any] = {}
    method = (module.take_text("method") or "GET").upper()
    if method not in _METHODS:
        module.note("changed: httpGet does not have this method; GET is sent", "method")
    elif method != "GET":
        options["method"] = method
    if body := module.take_text("body"):
        options["body"] = body
    return options


def _convert_codes(module: Section) -> list[int]:
    codes = [code for code in module.take_list("valid_status_codes") if isinstance(code, int)]
    if not codes:
        module.note_in_general("changed: of the status codes 200 to 299, only the registered ones pass")
    return codes or _SUCCESSFUL


def _convert_redirects(module: Section) -> dict[str, Any]:
    old = module.take("no_follow_redirects")
    follows = (
        module.take_flag("follow_redirects", default=True)
        if old is None
        else not module.take_flag("no_follow_redirects")
    )
    if not follows:
        return {"followRedirects": False}
    module.note_in_general(
        "changed: a redirect to a different host is not followed, and after one from http to https the certificate is "
        "not verified; where a target redirects, write the URL that it leads to"
    )
    return {}


def _convert_security(module: Section, host: str, hostname: str, *, secure: bool) -> dict[str, Any]:
    """Return the TLS options; none for a target with http."""
    tls = convert_tls(module.take_section("tls_config"))
    if not secure:
        return {}
    module.note_in_general("httpGet does not measure when a certificate expires: add checks of the kind certificate")
    options: dict[str, Any] = {"verifyTLS": True} if tls.verify else {}
    if (name := tls.server_name or url.Url(host=host).hostname) != hostname:
        options |= {"serverName": name}
    options |= {"caFile": tls.ca_file} if tls.ca_file else {}
    return options | ({"clientCertificate": tls.certificate} if tls.certificate else {})


def convert_credentials(module: Section, requested: url.Url) -> dict[str, Any]:
    """Return basicAuth or bearerToken. The value of a secret is never in the result."""
    if basic := module.take_section("basic_auth"):
        name = basic.take_text("username")
        if name is None:
            basic.note("changed: write the name of the user as username")
        return {"basicAuth": {"username": name or "unknown", "password": refer(basic, "password")}}
    if authorization := module.take_section("authorization"):
        if (authorization.take_text("type") or "Bearer").lower() == "bearer":
            return {"bearerToken": refer(authorization, "credentials")}
        authorization.note("left out: a check has only basicAuth and bearerToken")
        return {}
    if module.take("bearer_token") or module.take("bearer_token_file"):
        return {"bearerToken": refer(module, "bearer_token")}
    if requested.user is None:
        return {}
    name = requested.user.partition(":")[0]
    return {"basicAuth": {"username": unquote(name), "password": refer(module, "password")}}


def _convert_patterns(module: Section) -> list[dict[str, Any]]:
    """Return the options of each check for the patterns that a body must match, all of them.

    A check has one text and one pattern, so that further ones need further checks.
    """
    patterns = [str(pattern) for pattern in module.take_list("fail_if_body_not_matches_regexp")]
    texts = [{"bodyContains": pattern} for pattern in patterns if is_literal(pattern)]
    expressions = [{"bodyMatches": pattern} for pattern in patterns if not is_literal(pattern)]
    return [{**(text or {}), **(expression or {})} for text, expression in zip_longest(texts, expressions)] or [{}]


def _convert_forbidden_texts(module: Section) -> dict[str, Any]:
    """Return what the body must not contain. Several expressions become one."""
    patterns = [str(pattern) for pattern in module.take_list("fail_if_body_matches_regexp")]
    if len(patterns) == 1 and is_literal(patterns[0]):
        return {"bodyNotContains": patterns[0]}
    joined = "|".join(f"(?:{pattern})" for pattern in patterns) if len(patterns) > 1 else "".join(patterns)
    return {"bodyNotMatches": joined} if joined else {}


def _convert_response_headers(module: Section) -> dict[str, Any]:
    """Return the expectations of headers. blackbox_exporter requires each header, unless allow_missing is set."""
    expected: list[dict[str, str]] = []
    for key, option in (("fail_if_header_not_matches", "matches"), ("fail_if_header_matches", "notMatches")):
        for index, item in enumerate(module.take_list(key)):
            condition = item if isinstance(item, dict) else {}
            name, pattern = str(condition.get("header", "")), str(condition.get("regexp", ""))
            optional = is_true(condition.get("allow_missing"))
            if optional and option == "matches":
                module.note("left out: httpGet requires a header that must match", key, index)
                continue
            expected += [] if optional or option == "matches" else [{"name": name}]
            expected.append({"name": name, option: pattern})
    return {"expectHeaders": expected} if expected else {}
