"""The result of a query in a response of Prometheus' HTTP API (prometheus.io/docs/prometheus/latest/querying/api)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from exporter.model import Outcome, Reason, Status
from exporter.net.errors import DialError
from exporter.net.url import Url, parse
from exporter.probe.body import Body
from exporter.probe.jsonvalue import parse_json
from exporter.redaction import quote, redact

if TYPE_CHECKING:
    from exporter.net.client import Reply


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The values of a query's samples, and the Outcome of the server's warnings about them."""

    samples: list[Any]
    warning: Outcome | None


def locate_query(url: str) -> Url:
    """Return the URL to which queries are sent, at a server with this one. Raises ValueError."""
    base = parse(url)
    return replace(base, path=f"{base.path.rstrip('/')}/api/v1/query")


def read_result(reply: "Reply", target: str, secrets: Sequence[str]) -> QueryResult:
    """Return the result in a response. Raises DialError for a response that has none.

    What the response has in common with the secrets is masked in messages.
    """
    if reply.status in (401, 403):
        raise DialError(Reason.PERMISSION, f"{target} returned {reply.status}{_describe(reply, secrets)}", target)
    if reply.status in range(300, 400):
        raise DialError(Reason.STATUS, f"{target} returned {reply.status}, a redirect, which is not followed", target)
    try:
        content = parse_json(reply.body)
        if content["status"] != "success":
            reason = Reason.TIMEOUT if content["errorType"] == "timeout" else Reason.STATUS
            cause = redact(f"{content['errorType']}: {content['error']}", secrets, target)
            raise DialError(reason, f"{target} returned {reply.status}, {cause}", target)
        return QueryResult(_read_samples(content["data"], target), _find_warning(content, secrets))
    except (ValueError, LookupError, TypeError):
        fault = f"{target} returned {reply.status}, but not a response of Prometheus' API"
        raise DialError(Reason.STATUS, f"{fault}{_describe(reply, secrets)}", target) from None


def _read_samples(data: Any, target: str) -> list[Any]:
    kind, result = data["resultType"], data["result"]
    if kind in ("scalar", "string"):
        return [result[1]]
    if kind == "vector" and isinstance(result, list):
        return [sample["value"][1] if "value" in sample else None for sample in result]
    if kind == "matrix":
        message = f"{target} returned a matrix; the query must give an instant vector or a scalar"
        raise DialError(Reason.STATUS, message, target)
    raise ValueError("not a result")


def _find_warning(content: Any, secrets: Sequence[str]) -> Outcome | None:
    """Return the Outcome of a result that may be incomplete or wrong; None if the server did not warn.

    Prometheus and Thanos list warnings, for example about a store that did not respond. VictoriaMetrics marks the
    response as partial. Infos are left out: they are about the style of the query.
    """
    warnings = list(content.get("warnings") or ())
    if content.get("isPartial"):
        warnings.append("the result is partial")
    if not warnings:
        return None
    more = f", and {len(warnings) - 1} more" if len(warnings) > 1 else ""
    return Outcome(Status.WARN, Reason.BODY, f"the server warns: {redact(str(warnings[0]), secrets)}{more}")


def _describe(reply: "Reply", secrets: Sequence[str]) -> str:
    if not reply.body:
        return ""
    shown = partial(quote, secrets=secrets)
    body = Body(reply.body, len(reply.body) + 1, reply.content_type, reply.encoding, shown)
    return f"; received {body.describe()}"
