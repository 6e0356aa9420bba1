"""Which exceptions of a driver are evidence against the server."""

import json
import struct

import pytest
from pymysql.connections import Connection

from exporter.model import Reason
from exporter.net.errors import DialError
from exporter.probe.driver import blame_server


def recurse():
    recurse()


@pytest.mark.parametrize(
    "act", [lambda: json.loads("{"), lambda: json.loads(b"\xff"), recurse], ids=["{", "ff", "depth"]
)
def test_an_exception_of_the_driver_at_a_response_is_the_servers(act):
    with pytest.raises(DialError, match="the response does not follow JSON") as raised, blame_server("json", "JSON"):
        act()

    assert raised.value.reason is Reason.STATUS


@pytest.mark.parametrize(
    "error",
    [
        TypeError("send() got an unexpected keyword argument 'timeout'"),
        AttributeError("module 'select' has no attribute 'poll'"),
        ValueError("wrong"),
        struct.error("wrong"),
        RuntimeError("the package 'cryptography' is required"),
        OSError("wrong"),
        DialError(Reason.TIMEOUT, "late"),
    ],
    ids=repr,
)
def test_an_exception_of_other_code_is_not_the_servers(error):
    def send(_):
        raise error

    with pytest.raises(type(error)) as raised, blame_server("json", "JSON"):
        json.loads("1", parse_int=send)

    assert raised.value is error


def test_a_password_that_the_driver_cannot_encode_is_not_the_servers():
    with pytest.raises(UnicodeEncodeError), blame_server("pymysql", "MySQL's protocol"):
        Connection(password="€", defer_connect=True)
