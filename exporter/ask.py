"""Asks a running exporter for a verdict. Imports next to nothing: it runs in exec probes."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit


class AskError(Exception):
    """There is no answer, or none that is a verdict."""


def answer(url: str, path: str, timeout: float) -> tuple[bool, list[str]]:
    """The verdict of one of the exporter's endpoints and lines that say why. Raises AskError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AskError(f"{url} is not the address of an exporter: http://HOST:PORT is")
    connecting = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = connecting(parts.hostname, parts.port, timeout=timeout)
        connection.request("GET", f"{parts.path.rstrip('/')}/{path}?format=json")
        response = connection.getresponse()
        body = response.read()
        connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AskError(f"{url} could not be asked: {error}") from None
    if response.status not in (200, 503):
        raise AskError(f"{url}/{path} answered {response.status}, which is no verdict")
    try:
        return response.status == 200, _reasons(path, json.loads(body))
    except (ValueError, LookupError, AttributeError, TypeError):
        raise AskError(f"{url}/{path} did not answer as a health exporter does") from None


def _reasons(path: str, document: dict[str, Any]) -> list[str]:
    lines = [f"{path}: {document['status']}, generation {document['generation']}", *document.get("notes", ())]
    for name, (check,) in document["checks"].items():
        reason = f", reason {check['reason']}" if "reason" in check else ""
        since = f" since {check['since']}" if "since" in check else ""
        if check["status"] != "pass":
            lines.append(f"{name} ({check['componentType']}): {check['status']}{reason}{since}")
    return lines
