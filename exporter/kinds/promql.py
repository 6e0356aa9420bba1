"""The kind `promql`: what a Prometheus server answers to a query."""

import json
import math
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlencode

from pydantic import AfterValidator, Field, model_validator

from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.net.dial import DialError
from exporter.net.fetch import Page, Way, fetch
from exporter.net.request import Request, basic
from exporter.net.url import parse
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.limits import Limited, number
from exporter.probe.secret import BasicAuth, Secret, hidden

ANSWER_LIMIT = 1024 * 1024  # bytes


def _base(text: str) -> str:
    url = parse(text)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("must be a URL that begins with http:// or https://")
    if url.user is not None:
        raise ValueError("must hold no credentials: basicAuth and bearerToken are for them")
    if url.query is not None:
        raise ValueError("must have no query string: the query stands in query")
    return text


class Promql(Limited):
    """Asks Prometheus, or what speaks its HTTP API, for the value of a query now.

    Of several samples the worst decides: the greatest, or where the limits fall the least. NaN and infinity are no
    numbers, and fail where there are limits. Redirects are not followed, and over https the certificate is verified.
    """

    measures: ClassVar = {**LATENCY, "promql_value": "Worst sample of the query's answer in the latest run."}
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

    url: Annotated[str, AfterValidator(_base)]
    """The server, with the path it is served under, if there is one."""
    query: Annotated[str, Field(min_length=1)]
    """The query, in PromQL."""
    empty_is: Literal["fail", "pass"] = "fail"
    """What an answer without samples means."""
    basic_auth: BasicAuth | None = None
    """Basic authentication."""
    bearer_token: Secret | None = None
    """A bearer token."""
    ca_file: Path | None = None
    """Certificates of authorities to verify by, in PEM; by default the system's."""

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if self.basic_auth and self.bearer_token:
            raise ValueError("takes basicAuth or bearerToken, not both")
        return self

    @property
    def target(self) -> str:
        return parse(self.url).shown.rstrip("/")

    def liveness_risk(self) -> str | None:
        return "Prometheus may be away or behind: a restart here does not mend that"

    def probe(self, deadline: Deadline) -> Outcome:
        password = self.basic_auth.password.read() if self.basic_auth else ""
        token = self.bearer_token.read() if self.bearer_token else ""
        request = self._request(password, token, deadline)
        timer = LatencyTimer()
        try:
            page = self._fetched(request, deadline)
            latency = timer.stop()
            samples = _samples(page, self.target)
        except DialError as error:
            said = hidden(str(error), password, token, request.authorization.partition(" ")[2])
            return Outcome.failed(error.reason, said)
        return self._conclude(samples, latency)

    def _conclude(self, samples: list[Any], latency: Measurement) -> Outcome:
        said = f"{self.target} answered the query"
        if not samples:
            said = f"{said} with no sample"
            well = self.empty_is == "pass"
            return Outcome.passed(said, latency) if well else Outcome.failed(Reason.MISSING, said, latency)
        numbers = [value for each in samples if (value := number(each)) is not None]
        if len(numbers) < len(samples):
            return self.compare("promql_value", said, "NaN", latency)
        worst = min(numbers) if self.falling else max(numbers)
        return self.compare("promql_value", said if len(numbers) == 1 else f"{said}, at worst", worst, latency)

    def _request(self, password: str, token: str, deadline: Deadline) -> Request:
        """A request that the server too gives up at the deadline. Raises ProbeError for what cannot be sent."""
        base = parse(self.url)
        timeout = f"{max(1, math.ceil(deadline.remaining() * 1000))}ms"
        query = urlencode({"query": self.query, "timeout": timeout})
        asked = replace(base, path=f"{base.path.rstrip('/')}/api/v1/query", query=query)
        authorization = f"Bearer {token}" if token else ""
        if self.basic_auth:
            authorization = basic(self.basic_auth.username.encode(), password.encode())
        request = Request(asked, (("User-Agent", "health-exporter"),), authorization=authorization)
        try:
            request.sent  # noqa: B018  # makes it
        except ValueError as error:
            raise ProbeError(Reason.ERROR, f"the request cannot be sent: {error}") from None
        return request

    def _fetched(self, request: Request, deadline: Deadline) -> Page:
        """The answer. Raises DialError, also for a body that breaks off: without it there is no answer."""
        context = ssl.create_default_context(cafile=self.ca_file) if request.url.scheme == "https" else None
        try:
            page = fetch(request, Way(deadline, context=context, follow=False, body_limit=ANSWER_LIMIT + 1))
        except ProbeError as error:
            raise DialError(error.reason, str(error)) from None
        if len(page.body) > ANSWER_LIMIT:
            raise DialError(Reason.BODY, f"{self.target}: the answer is longer than {ANSWER_LIMIT // 1024} KiB")
        return page


def _samples(page: Page, target: str) -> list[Any]:
    """The values in an answer of Prometheus' HTTP API. Raises DialError for any other."""
    if page.status in (401, 403):
        raise DialError(Reason.PERMISSION, f"{target} answered {page.status}")
    try:
        answer = json.loads(page.body)
        if answer["status"] != "success":
            reason = Reason.TIMEOUT if answer["errorType"] == "timeout" else Reason.STATUS
            raise DialError(reason, f"{target} answered {page.status}, {answer['errorType']}: {answer['error']}")
        kind, result = answer["data"]["resultType"], answer["data"]["result"]
        if kind in ("scalar", "string"):
            return [result[1]]
        if kind == "vector":
            return [each["value"][1] if "value" in each else None for each in result]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise DialError(Reason.STATUS, f"{target} answered {page.status}, and not as Prometheus does") from None
    raise DialError(Reason.STATUS, f"{target} answered with a {kind}: only an instant vector or a scalar is of use")
