"""TLS contexts for checks, made of the files in their options."""

import os
from pathlib import Path

import pytest
import trustme
from support import PATIENCE, within

from exporter.host import reader
from exporter.model import ProbeError, Reason
from exporter.probe.tls import read_client_context


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    issued = trustme.CA().issue_cert("probe")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def make(*files, **options):
    return read_client_context(within(PATIENCE), *files, **options)


def test_a_context_is_made_once(ca_file, pair):
    assert make(ca_file) is make(ca_file)
    assert make() is make()
    assert make(ca_file, pair) is make(ca_file, pair)
    assert make(ca_file) is not make()


def test_a_context_is_made_again_when_its_file_changes(ca_file):
    before = make(ca_file)
    trustme.CA().cert_pem.write_to_path(str(ca_file))
    after = make(ca_file)

    assert after is not before
    assert after.get_ca_certs() != before.get_ca_certs()


def test_the_system_s_authorities_are_loaded_again_when_they_change(ca_file, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    before = make()
    assert len(before.get_ca_certs()) == 1
    trustme.CA().cert_pem.write_to_path(str(ca_file))
    after = make()

    assert after.get_ca_certs() != before.get_ca_certs()


def test_a_folder_of_the_system_s_authorities_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert make() is make()
    assert make().get_ca_certs() == []

    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
    assert make().get_ca_certs() == []


def test_files_that_cannot_be_used_are_probe_errors(tmp_path, ca_file, pair):
    (tmp_path / "empty.pem").write_text("no certificate\n")
    os.mkfifo(tmp_path / "fifo.pem")
    for files, reason, message in (
        ([tmp_path / "missing.pem"], Reason.MISSING, "missing.pem does not exist"),
        ([tmp_path / "empty.pem"], Reason.ERROR, "empty.pem"),
        ([tmp_path / "fifo.pem"], Reason.ERROR, "it is a FIFO, not a regular file"),
        ([ca_file, (tmp_path / "fifo.pem", pair[1])], Reason.ERROR, "it is a FIFO, not a regular file"),
        ([ca_file, (pair[0], tmp_path / "fifo.pem")], Reason.ERROR, "it is a FIFO, not a regular file"),
        ([ca_file, (pair[0], tmp_path / "empty.pem")], Reason.ERROR, "empty.pem"),
    ):
        with pytest.raises(ProbeError, match=message) as raised:
            make(*files)
        assert raised.value.reason is reason


def test_a_file_without_permission_is_a_probe_error(ca_file, monkeypatch):
    def stat(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", stat)  # root may read every file
    with pytest.raises(ProbeError, match=r"ca\.pem: permission denied") as raised:
        make(ca_file)
    assert raised.value.reason is Reason.PERMISSION


def test_the_system_s_fifo_of_authorities_does_not_block(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "fifo.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))

    assert make().get_ca_certs() == []
    assert reader.read_pem(__file__)
