"""A request that the server has received, and a response that it sends."""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

from exporter.addresses import drop_authority

HEARTBEATS = "/heartbeat/"
"""What the path of a heartbeat begins with."""


class Request:
    """The head of a request. The path is decoded, the query is not. Header names are in lower case."""

    __slots__ = ("_headers", "method", "path", "peer", "query")

    def __init__(self, method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]], peer: str) -> None:
        path, _, self.query = drop_authority(target.decode("latin-1")).partition("?")
        self.method = method.decode("latin-1")
        self.path = unquote(path, errors="replace")
        self.peer = peer
        self._headers = headers

    def header(self, name: bytes) -> str:
        """Return the value of a header, empty without one. Repeated headers are joined (RFC 9110, section 5.3)."""
        return ",".join(value.decode("latin-1") for key, value in self._headers if key == name)


@dataclass(frozen=True, slots=True)
class Response:
    """A response without the headers that every one of this server has."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of a header."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def render_head(self, date: str) -> bytes:
        """Return the head, with the length of the body unless the headers have one: the response to HEAD may."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}", f"date: {date}", "connection: close"]
        if self.header("content-length") is None and self.status != HTTPStatus.NOT_MODIFIED:  # RFC 9110, section 8.6
            lines.append(f"content-length: {len(self.body)}")
        lines += [f"{name.lower()}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")
