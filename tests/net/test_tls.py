"""TLS contexts, made of contents in memory and cached."""

import ssl
from functools import partial
from pathlib import Path

import pytest
import trustme
from kinds.frames import tls2
from kinds.servers import hang, serving
from support import PATIENCE, within

from exporter.net.dial import connect, secure
from exporter.net.tls import in_memory, make_client_context, make_inspection_context, make_kubelet_context


def test_a_context_is_made_once():
    authority = trustme.CA().cert_pem.bytes()

    assert make_client_context(authority) is make_client_context(authority)
    assert make_client_context(authority) is not make_client_context(authority, verify=False)
    assert make_kubelet_context() is make_kubelet_context()
    assert make_inspection_context() is not make_kubelet_context()


def test_certificates_are_verified_unless_that_is_turned_off():
    authority = trustme.CA().cert_pem.bytes()

    assert make_client_context(authority).verify_mode is ssl.CERT_REQUIRED
    assert make_client_context(authority).check_hostname
    assert len(make_client_context(authority).get_ca_certs()) == 1
    assert make_client_context(authority, verify=False).verify_mode is ssl.CERT_NONE


def test_a_folder_is_used_again_until_it_changes(tmp_path):
    assert make_client_context(folder=(str(tmp_path), 1)) is make_client_context(folder=(str(tmp_path), 1))
    assert make_client_context(folder=(str(tmp_path), 1)) is not make_client_context(folder=(str(tmp_path), 2))


@pytest.mark.parametrize("content", [b"", b"no certificate\n"])
def test_contents_without_a_certificate_are_refused(content):
    with pytest.raises(ssl.SSLError):
        make_client_context(content)


def test_an_encrypted_key_is_refused_without_a_prompt():
    issued = trustme.CA().issue_cert("probe")
    key = issued.private_key_pem.bytes().replace(b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY")
    with pytest.raises(ssl.SSLError):
        make_client_context(None, (issued.cert_chain_pems[0].bytes(), key))


def test_a_file_in_memory_is_read_like_any_other():
    content = b"x" * 5_000_000
    with in_memory(content) as path:
        for _ in range(2):
            assert Path(path).read_bytes() == content
    with pytest.raises(OSError, match="No such file"):
        Path(path).read_bytes()


@pytest.mark.parametrize(
    ("protocols", "chosen"), [((), None), (("http/1.1",), "http/1.1"), (("h2", "http/1.1"), "h2")], ids=str
)
@pytest.mark.parametrize("make", [make_kubelet_context, partial(make_client_context, verify=False)])
def test_only_the_given_protocols_are_offered(make, protocols, chosen):
    """Kinds that offer none share no context with httpGet."""
    deadline = within(PATIENCE)
    with serving((hang,), tls=tls2("h2", "http/1.1"), listens=False) as server:
        sock = connect("127.0.0.1", server.port, deadline)
        with secure(sock, make(protocols=protocols), "127.0.0.1") as secured:
            assert secured.selected_alpn_protocol() == chosen
