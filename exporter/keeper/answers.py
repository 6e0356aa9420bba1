"""The keeper's answers, while no worker serves: the exporter is alive, and nothing else is known.

They have generation 0, and liveness is 200, because a restart needs evidence. Everything else is 503.
"""

import time

from exporter.addresses import drop_authority
from exporter.keeper.shared import GROUPS
from exporter.lines import format_time

PATHS = ("/livez", "/readyz", "/startupz", "/healthz")
"""The paths of the groups, in the order of GROUPS."""
LIVENESS = 0

_HEALTHY_PATH = "/-/healthy"
_REASONS = {200: "OK", 400: "Bad Request", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}
_PLAIN, _JSON = "text/plain; charset=utf-8", "application/health+json"


class Request:
    """A request, as far as the keeper reads it."""

    def __init__(self, head: bytes) -> None:
        lines = [line.rstrip("\r") for line in head.decode("latin-1").split("\n")]
        words = lines[0].split(" ")
        self.valid = len(words) == 3 and "" not in words and words[2].startswith("HTTP/1.")
        self.method = words[0]
        self.path, _, query = drop_authority(words[1]).partition("?") if self.valid else ("", "", "")
        self.parameters = query.split("&")
        self._accept = [line for line in lines[1:] if line[:7].lower() == "accept:"]

    @property
    def readable(self) -> bool:
        """Whether the method only reads."""
        return self.method in ("GET", "HEAD")

    @property
    def about_liveness(self) -> bool:
        """Whether the question is if the application or the exporter is alive, which the keeper can answer."""
        path, _, check = self.path.rpartition("/")
        of_a_check = path == PATHS[LIVENESS] and check != ""
        return self.readable and (of_a_check or self.path in (PATHS[LIVENESS], _HEALTHY_PATH))

    @property
    def group(self) -> int | None:
        """The group whose answers this one is counted with, as an index in GROUPS."""
        return PATHS.index(self.path) if self.readable and self.path in PATHS else None

    @property
    def wants_json(self) -> bool:
        """Whether health+json is requested."""
        formats = [parameter for parameter in self.parameters if parameter.startswith("format=")]
        return formats[0] == "format=json" if formats else any("json" in line for line in self._accept)


def respond(request: Request, condition: str) -> bytes:
    """Return the whole answer. `condition` says why the keeper answers: `starting`, for example."""
    if not request.valid:
        return render(400, f"400 {_REASONS[400]}\n", head=False)
    status = 200 if request.about_liveness else 503
    content_type = _PLAIN
    if request.group is not None and request.wants_json:
        body, content_type = _render_json(request.group, status, condition), _JSON
    elif request.path == _HEALTHY_PATH:
        body = "Health Exporter is healthy.\n"
    elif status == 503:
        body = f"Health Exporter is {condition}.\n"
    else:
        body = "livez check passed\n" if request.group == LIVENESS and "verbose" in request.parameters else "ok"
    return render(status, body, content_type, head=request.method == "HEAD")


def render(status: int, body: str, content_type: str = _PLAIN, *, head: bool) -> bytes:
    """Return an answer with the headers that every answer of the exporter has; to a HEAD request without the body."""
    lines = (
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Health-Generation: 0",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        *(("Retry-After: 1",) if status == 503 else ()),
        f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime())}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "" if head else body)).encode("ascii")


def _render_json(group: int, status: int, condition: str) -> str:
    """Return the document of the exporter's health+json answers, without any check."""
    return (
        f'{{"status": "{"pass" if status == 200 else "fail"}", "serviceId": "health-exporter", '
        f'"description": "verdict for the group {GROUPS[group]}", "generation": 0, "group": "{GROUPS[group]}", '
        f'"time": "{format_time(time.time())}", "notes": ["{condition}"], "checks": {{}}}}'
    )
