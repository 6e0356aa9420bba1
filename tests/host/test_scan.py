"""What a scan of all processes has found, in words. The kind `process` tests the scan itself."""

from exporter.host.scan import Scan


def test_what_else_a_scan_has_found_is_described():
    scan = Scan(stopped=[3], exporters=[9, 8], names=[(10_000_000, "nginx2")])

    assert scan.describe_others("nginx") == (
        ", 1 stopped by a signal until SIGCONT (pid 3), not counting what belongs to an exporter (pids 8, 9)"
        "; similar names: nginx2 (pid 10000000)"
    )
    assert Scan(names=[(10_000_000, "nginx2")]).describe_others(None) == ""
