"""TLS contexts are cached until one of their files changes."""

import os
from pathlib import Path

import pytest
import trustme

from exporter.model import ProbeError, Reason
from exporter.net.tls import make_client_context, make_inspection_context, make_kubelet_context


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


def test_a_context_is_made_once(ca_file):
    assert make_client_context(ca_file) is make_client_context(ca_file)
    assert make_client_context() is make_client_context()
    assert make_kubelet_context() is make_kubelet_context()
    assert make_inspection_context() is not make_kubelet_context()


def test_a_context_is_made_again_when_its_file_changes(ca_file):
    before = make_client_context(ca_file)
    trustme.CA().cert_pem.write_to_path(str(ca_file))
    os.utime(ca_file, ns=(1, 1))
    after = make_client_context(ca_file)

    assert after is not before
    assert after.get_ca_certs() != before.get_ca_certs()


def test_the_system_s_authorities_are_loaded_again_when_they_change(ca_file, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    before = make_client_context()
    os.utime(ca_file, ns=(1, 1))

    assert make_client_context() is not before


def test_a_missing_file_and_an_empty_one_are_probe_errors(tmp_path):
    (tmp_path / "empty.pem").write_text("no certificate\n")
    for name, reason in (("missing.pem", Reason.MISSING), ("empty.pem", Reason.ERROR)):
        with pytest.raises(ProbeError) as raised:
            make_client_context(tmp_path / name)
        assert raised.value.reason is reason


def test_a_file_without_permission_is_a_probe_error(ca_file, monkeypatch):
    def stat(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", stat)  # root may read every file
    with pytest.raises(ProbeError, match=r"no permission to read the file .*ca\.pem") as raised:
        make_client_context(ca_file)

    assert raised.value.reason is Reason.PERMISSION
