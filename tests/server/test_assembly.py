"""What the exporter reports to its keeper."""

import socket

from exporter.assembly import Exporter
from exporter.keeper.link import Link
from exporter.keeper.shared import Shared


def test_a_report_counts_no_reload_whose_outcome_it_does_not_have(monkeypatch):
    """A reload that ends while the report is made: the service manager would be ready with the status before it."""
    keeper, worker = socket.socketpair()
    shared = Shared()
    with keeper, worker:
        exporter = Exporter("host", link=Link(shared, worker, -1, [], [], 1))

        def end_a_reload(vitals=exporter.vitals):
            before = vitals()
            exporter._reloader.served += 1
            return before

        monkeypatch.setattr(exporter, "vitals", end_a_reload)
        reported = []
        for _ in range(2):
            exporter._tick()
            reported.append(shared.condition[-1])

    assert reported == [0, 1]
