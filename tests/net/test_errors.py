"""A DialError names its endpoint once."""

from exporter.model import Reason, Status
from exporter.net.errors import DialError


def test_an_error_that_names_no_endpoint_gets_one():
    error = DialError(Reason.TLS, "TLS: bad record").with_endpoint("https://it.example/")

    assert (error.reason, str(error)) == (Reason.TLS, "https://it.example/: TLS: bad record")
    assert error.where == "https://it.example/"


def test_an_error_that_names_its_endpoint_is_unchanged():
    """Even if the message names another endpoint: for a name with several addresses, it names one of them."""
    error = DialError(Reason.CONNECT, "127.0.0.1:80: Connection refused", "127.0.0.1:80")

    assert error.with_endpoint("localhost:80") is error


def test_the_outcome_is_a_failure_that_names_the_endpoint():
    outcome = DialError(Reason.TIMEOUT, "no complete response in time").outcome("it.example:443")

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    assert outcome.summary == "it.example:443: no complete response in time"
