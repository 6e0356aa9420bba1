"""Asking a server through its driver, for the kinds that do."""

from abc import abstractmethod
from typing import Annotated, Any, ClassVar

from pydantic import Field

from exporter.model import Deadline, Outcome
from exporter.net.dial import DialError
from exporter.probe.latency import LatencyTimer
from exporter.probe.limits import Limited
from exporter.probe.options import Host, Port, endpoint, remote_host_risk
from exporter.probe.secret import Secret, hidden


class Driven(Limited):
    """A kind that asks a server by its own protocol, and may judge the number that it is answered."""

    value: ClassVar[str]
    """The measurement that an answered number is."""

    port: Port
    """Port to connect to."""
    host: Host = "127.0.0.1"
    """Address or name to connect to."""
    password: Secret | None = None
    """The user's password."""

    @property
    def target(self) -> str:
        return endpoint(self.host, self.port)

    def liveness_risk(self) -> str | None:
        return remote_host_risk(self.host)

    def probe(self, deadline: Deadline) -> Outcome:
        password = self.password.read() if self.password else ""
        timer = LatencyTimer()
        try:
            answer = self.ask(password, deadline)
        except DialError as error:
            said = str(error) if str(error).startswith(endpoint(self.host, self.port)) else f"{self.target}: {error}"
            return Outcome.failed(error.reason, hidden(said, password))
        latency = timer.stop()
        return self.compare(self.value, f"{self.target} answered {self.asked}", answer, latency)

    @property
    def asked(self) -> str:
        """What the server answered, as the summary names it."""
        return "the query"

    @abstractmethod
    def ask(self, password: str, deadline: Deadline) -> Any:
        """The server's answer; of a table the first value of the first row, or None. Raises DialError."""


class Sql(Driven):
    """A database that is asked a query."""

    username: Annotated[str, Field(min_length=1)]
    """User to authenticate as."""
    database: str | None = None
    """Database that the query is about."""
    query: Annotated[str, Field(min_length=1)] = "SELECT 1"
    """SQL to run."""

    @property
    def target(self) -> str:
        return f"{super().target}/{self.database}" if self.database else super().target
