"""The kind `promql`: the value of a query at a Prometheus server."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, model_validator

from exporter.model import Deadline, Measurement, Outcome, Reason
from exporter.net.errors import DialError
from exporter.net.url import parse
from exporter.probe.authorization import Authorization, read_authorization, refuse_both
from exporter.probe.jsonvalue import parse_json
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.limits import Limited, parse_number
from exporter.probe.options import Text
from exporter.probe.secret import BasicAuth, Secret, hide
from exporter.probe.tls import read_client_context
from exporter.redaction import find_strings, redact

if TYPE_CHECKING:
    from exporter.net.client import Reply

MAX_RESPONSE = 1024 * 1024  # bytes


def _validate_url(text: str) -> str:
    url = parse(text)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("must be a URL that begins with http:// or https://")
    if url.user is not None:
        raise ValueError("must not contain credentials: use basicAuth or bearerToken")
    if url.query is not None:
        raise ValueError("must not have a query string: the PromQL query goes into query")
    return text


class Promql(Limited):
    """Runs an instant query at Prometheus, or at any server with its HTTP API.

    If the result has several samples, the worst one counts: the greatest, or the smallest if `falling` is set. If
    `warn` or `fail` is set, NaN and infinity fail the check. Redirects are not followed. Over https the certificate is
    verified.
    """

    measures: ClassVar = {**LATENCY, "promql_value": "Worst sample of the query's result in the latest run."}
    examples: ClassVar = (
        """\
- name: errors
  promql:
    url: http://prometheus:9090
    query: sum(rate(http_requests_total{code=~"5.."}[5m]))
    emptyIs: pass
    warn: 1
    fail: 10""",
        """\
- name: replicas
  promql:
    url: https://prometheus.example.com
    query: kube_deployment_status_replicas_available{deployment="shop"}
    bearerToken: {file: /var/run/secrets/token}
    fail: 1
    falling: true""",
    )

    url: Annotated[str, AfterValidator(_validate_url)]
    """URL of the server, with its path prefix if it has one."""
    query: Text
    """Query, in PromQL."""
    empty_is: Literal["fail", "pass"] = "fail"
    """Status of the check when the result has no sample."""
    basic_auth: BasicAuth | None = None
    """Sends basic authentication."""
    bearer_token: Secret | None = None
    """Sends a bearer token."""
    ca_file: Path | None = None
    """CA certificates to verify the server's certificate with, in PEM. By default, the system's are used."""

    @model_validator(mode="after")
    def _validate_authorization(self) -> Self:
        refuse_both(self.basic_auth, self.bearer_token)
        return self

    @property
    def target(self) -> str:
        return parse(self.url).public.rstrip("/")

    def liveness_risk(self) -> str | None:
        return "Prometheus may be unreachable or behind; restarting this application cannot fix that"

    def probe(self, deadline: Deadline) -> Outcome:
        authorization = read_authorization(self.basic_auth, self.bearer_token, deadline)
        try:
            reply, latency = self._send(authorization, deadline)
            samples = _read_samples(reply, self.target)
        except DialError as error:
            text = redact(hide(str(error), *authorization.secrets), find_strings(self.query), self.target)
            return Outcome.failed(error.reason, text)
        return self._conclude(samples, latency)

    def _send(self, authorization: Authorization, deadline: Deadline) -> "tuple[Reply, Measurement]":
        """Return the server's response and its latency. The server also cancels the query at the deadline."""
        from exporter.net import client  # imports requests, 9 MiB that no other kind needs

        params = {"query": self.query, "timeout": f"{max(1, math.ceil(deadline.remaining() * 1000))}ms"}
        headers = {"Authorization": authorization.header.encode()} if authorization.header else {}
        base = parse(self.url)
        url = str(replace(base, path=f"{base.path.rstrip('/')}/api/v1/query"))
        timer = LatencyTimer()
        context = read_client_context(deadline, self.ca_file) if base.scheme == "https" else None
        with client.open_session(deadline, MAX_RESPONSE, context) as session:
            reply = client.send(session, "GET", url, params=params, headers=headers)
        return reply, timer.stop()

    def _conclude(self, samples: list[Any], latency: Measurement) -> Outcome:
        summary = f"{self.target} responded to the query"
        if not samples:
            summary = f"{summary} with no sample"
            if self.empty_is == "pass":
                return Outcome.passed(summary, latency)
            return Outcome.failed(Reason.MISSING, summary, latency)
        numbers = [value for sample in samples if (value := parse_number(sample)) is not None]
        if len(numbers) < len(samples):
            return self.compare("promql_value", summary, "NaN", latency)
        worst = min(numbers) if self.falling else max(numbers)
        return self.compare("promql_value", summary if len(numbers) == 1 else f"{summary}, at worst", worst, latency)


def _read_samples(reply: "Reply", target: str) -> list[Any]:
    """Return the values in a response of Prometheus' HTTP API. Raises DialError for any other response."""
    if reply.status in (401, 403):
        raise DialError(Reason.PERMISSION, f"{target} returned {reply.status}")
    try:
        content = parse_json(reply.body)
        if content["status"] != "success":
            reason = Reason.TIMEOUT if content["errorType"] == "timeout" else Reason.STATUS
            cause = f"{content['errorType']}: {content['error']}"
            raise DialError(reason, f"{target} returned {reply.status}, {cause}")
        kind, result = content["data"]["resultType"], content["data"]["result"]
        if kind in ("scalar", "string"):
            return [result[1]]
        if kind == "vector":
            return [sample["value"][1] if "value" in sample else None for sample in result]
    except (ValueError, LookupError, TypeError):
        message = f"{target} returned {reply.status}, but not a response of Prometheus' API"
        raise DialError(Reason.STATUS, message) from None
    raise DialError(Reason.STATUS, f"{target} returned a {kind}; the query must give an instant vector or a scalar")
