"""The kind `promql`: the value of a query at a Prometheus server."""

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlencode

from pydantic import AfterValidator, model_validator

from exporter.model import Deadline, Measurement, Outcome, Reason
from exporter.net.errors import DialError
from exporter.net.url import parse
from exporter.probe.authorization import read_authorization, refuse_both
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.limits import Limited, parse_number
from exporter.probe.options import HOST, HeaderName, InputFile, Meaning, Options, Query
from exporter.probe.prometheus import locate_query, read_result
from exporter.probe.reference import EXPANDED
from exporter.probe.secret import BasicAuth, Secret
from exporter.probe.tls import read_client_context
from exporter.redaction import find_strings

if TYPE_CHECKING:
    from exporter.net.client import Reply

MAX_RESPONSE = 1024 * 1024  # bytes
MAX_QUERY_STRING = 2048
"""Bytes of a query that is sent in the URL. Proxies accept URLs of a few KiB, so a longer one is sent in a body."""
_OWN_HEADERS = ("accept-encoding", "connection", "content-length", "content-type", "transfer-encoding")


def _validate_url(text: str) -> str:
    url = parse(text)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("must be a URL that begins with http:// or https://")
    if not HOST.fits(url.hostname):
        raise ValueError("must have a valid host name or address")
    if url.user is not None:
        raise ValueError("must not contain credentials: use basicAuth or bearerToken")
    if url.query is not None:
        raise ValueError("must not have a query string: the PromQL query goes into query")
    return text


class PromqlHeader(Options):
    """A request header, with a value that stands here or in a secret."""

    name: HeaderName
    """Name of the header."""
    value: str = ""
    """Value of the header."""
    value_from: Secret | None = None
    """Secret to read the value from."""

    @model_validator(mode="after")
    def _validate(self) -> Self:
        if self.value and self.value_from:
            raise ValueError("takes value or valueFrom, not both")
        if self.name.lower() == "authorization":
            raise ValueError("must not be Authorization: use basicAuth or bearerToken")
        if self.name.lower() in _OWN_HEADERS:
            raise ValueError("must not be a header that the client sets itself")
        return self

    def read(self, deadline: Deadline) -> str:
        """Return the value. Raises ProbeError if its secret cannot be read."""
        return self.value_from.read(deadline) if self.value_from else self.value


class Promql(Limited):
    """Runs an instant query at Prometheus, or at any server with its HTTP API.

    If the result has several samples, the worst one counts: the greatest, or the smallest if `falling` is set. If
    `warn` or `fail` is set, NaN and infinity fail the check. If the server adds warnings to the result, or marks it as
    partial, the check warns instead of passing: samples may be missing. Redirects are not followed. Over https the
    certificate is verified.
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
        """\
- name: tenant
  promql:
    url: http://mimir:8080/prometheus
    query: sum(up{job="shop"})
    httpHeaders: [{name: X-Scope-OrgID, value: shop}]
    fail: 0
    falling: true""",
    )

    url: Annotated[str, Meaning.REFERENCE, EXPANDED, AfterValidator(_validate_url)]
    """URL of the server, with its path prefix if it has one."""
    query: Query
    """Query, in PromQL."""
    empty_is: Literal["fail", "pass"] = "fail"
    """Status of the check when the result has no sample."""
    basic_auth: BasicAuth | None = None
    """Sends basic authentication."""
    bearer_token: Secret | None = None
    """Sends a bearer token."""
    http_headers: tuple[PromqlHeader, ...] = ()
    """Headers to send, such as X-Scope-OrgID, which selects a tenant of Mimir, Cortex or Thanos."""
    ca_file: InputFile | None = None
    """CA certificates to verify the server's certificate with, in PEM. By default, the system's are used."""

    @model_validator(mode="after")
    def _validate_authorization(self) -> Self:
        refuse_both(self.basic_auth, self.bearer_token)
        return self

    @model_validator(mode="after")
    def _validate_headers(self) -> Self:
        if len({header.name.lower() for header in self.http_headers}) < len(self.http_headers):
            raise ValueError("httpHeaders must not have the same name twice")
        return self

    @property
    def target(self) -> str:
        return parse(self.url).public.rstrip("/")

    def liveness_risk(self) -> str | None:
        return "Prometheus may be unreachable or behind; restarting this application cannot fix that"

    def probe(self, deadline: Deadline) -> Outcome:
        authorization = read_authorization(self.basic_auth, self.bearer_token, deadline)
        headers = {header.name: header.read(deadline) for header in self.http_headers}
        secrets = [*authorization.secrets, *headers.values(), *find_strings(self.query)]
        if authorization.header:
            headers["Authorization"] = authorization.header
        try:
            reply, latency = self._send(headers, deadline)
            result = read_result(reply, self.target, secrets)
        except DialError as error:
            return error.outcome(self.target)
        outcome = self._conclude(result.samples, latency)
        return Outcome.worst(outcome, result.warning) if result.warning else outcome

    def _send(self, headers: dict[str, str], deadline: Deadline) -> "tuple[Reply, Measurement]":
        """Return the server's response and its latency. The server also cancels the query at the deadline."""
        from exporter.net import client  # imports requests, 9 MiB that no other kind needs

        form = {"query": self.query, "timeout": f"{max(1, math.ceil(deadline.remaining() * 1000))}ms"}
        url = locate_query(self.url)
        encoded = {name: value.encode() for name, value in headers.items()}
        timer = LatencyTimer()
        context = read_client_context(deadline, self.ca_file) if url.scheme == "https" else None
        with client.open_session(deadline, MAX_RESPONSE, context) as session:
            if len(urlencode(form)) > MAX_QUERY_STRING:
                reply = client.send(session, "POST", str(url), data=form, headers=encoded)
            else:
                reply = client.send(session, "GET", str(url), params=form, headers=encoded)
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
