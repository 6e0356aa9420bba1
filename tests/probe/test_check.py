"""Probes with equal options are equal, and every kind documents itself."""

import re

import pytest

from exporter.kinds import kinds
from exporter.kinds.disk import Disk
from exporter.kinds.exec import Exec
from exporter.kinds.http_get import HttpGet
from exporter.probe.options import find_host_risk


def test_every_file_is_a_kind():
    assert {"disk", "exec", "httpGet", "loadAverage", "memory", "tcpSocket"} <= set(kinds())
    assert kinds()["httpGet"] is HttpGet


@pytest.mark.parametrize("kind", kinds().values(), ids=kinds())
def test_every_kind_documents_its_options_and_its_metrics(kind):
    assert kind.__doc__
    for name, option in kind.model_json_schema().get("properties", {}).items():
        assert option.get("description"), f"{kind.__name__}.{name} has no docstring"
    for name, help_text in kind.measures.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert help_text.endswith(".")
        assert "latest run" in help_text


def test_state_between_runs_does_not_make_probes_unequal():
    probe, other = Disk(path="/"), Disk(path="/")
    probe._query = object()  # type: ignore[assignment]

    assert probe == other
    assert probe != Disk(path="/tmp")
    assert Exec(command=("true",)) != HttpGet(port=1)


@pytest.mark.parametrize(
    ("host", "risky"),
    [
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("localhost", False),
        ("::1", False),
        ("db", True),
        ("10.0.0.1", True),
    ],
)
def test_another_host_is_a_risk_for_liveness(host, risky):
    assert bool(find_host_risk(host)) is risky
