"""Probes are alike when configured alike, and every kind documents itself."""

import re

import pytest

from exporter.kinds import kinds
from exporter.kinds.disk import Disk
from exporter.kinds.exec import Exec
from exporter.kinds.http_get import HttpGet
from exporter.probe.options import remote_host_risk


def test_the_kinds_are_their_files():
    assert {"disk", "exec", "httpGet", "loadAverage", "memory", "tcpSocket"} <= set(kinds())
    assert kinds()["httpGet"] is HttpGet


@pytest.mark.parametrize("kind", kinds().values(), ids=kinds())
def test_every_kind_has_its_manual(kind):
    assert kind.__doc__
    for name, option in kind.model_json_schema().get("properties", {}).items():
        assert option.get("description"), f"{kind.__name__}.{name} has no docstring"
    for name, help_text in kind.measures.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert help_text.endswith(".")
        assert "latest run" in help_text


def test_what_is_under_way_does_not_make_a_probe_another():
    one, other = Disk(path="/"), Disk(path="/")
    one._query = object()  # type: ignore[assignment]

    assert one == other

    assert one != Disk(path="/tmp")
    assert Exec(command=("true",)) != HttpGet(port=1)


@pytest.mark.parametrize(
    ("host", "away"),
    [
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("localhost", False),
        ("::1", False),
        ("db", True),
        ("10.0.0.1", True),
    ],
)
def test_another_host_is_a_risk_for_liveness(host, away):
    assert bool(remote_host_risk(host)) is away
