"""What the keeper and the worker both read from a request."""

import pytest

from exporter.addresses import drop_authority


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/livez?verbose", "/livez?verbose"),
        ("http://exporter:4584/livez?verbose", "/livez?verbose"),
        ("HTTPS://exporter/metrics", "/metrics"),
        ("http://exporter", "/"),
        ("http://exporter?format=json", "/?format=json"),
        ("http://exporter//livez", "//livez"),
        ("/check/http://x", "/check/http://x"),
        ("ftp://exporter/livez", "ftp://exporter/livez"),
        ("*", "*"),
        ("", ""),
    ],
)
def test_a_whole_url_is_accepted_as_the_target_of_a_request(target, path):
    assert drop_authority(target) == path
