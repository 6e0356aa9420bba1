"""The web configuration on real files that change."""

import base64
import http.client
import logging
import signal
import socket
import ssl
import sys
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import trustme
from support import PATIENCE, Exporter, ended, eventually, free_port, get
from web_files import TLS, hashed, issue, written

from exporter.config.complaint import ConfigError
from exporter.server.web_config import WebConfigFile

ALICE = f"basic_auth_users:\n  alice: {hashed('right')}\n"
BOB = f"basic_auth_users:\n  bob: {hashed('right')}\n"


def poll(web: WebConfigFile) -> None:
    """Poll as often as a changed file needs."""
    web.poll()
    web.poll()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.fields["error"] for record in caplog.records if record.levelname == "ERROR"]


def test_without_a_file_there_are_neither_users_nor_tls(caplog):
    web = WebConfigFile()
    poll(web)

    assert (web.users, web.context, web.ok) == ({}, None, True)
    assert caplog.records == []


def test_an_invalid_file_is_an_error_at_the_start(tmp_path):
    with pytest.raises(ConfigError, match="must be a bcrypt hash"):
        WebConfigFile(written(tmp_path, "basic_auth_users: {alice: secret}\n"))


def test_an_invalid_file_that_is_not_required_is_used_once_it_is_valid(folder, caplog):
    kept: list[bytes] = []
    web = WebConfigFile(written(folder, TLS + "basic_auth_users: {alice: secret}\n"), keep=kept.append, required=False)

    assert (web.loaded, web.ok, web.context, kept) == (False, False, None, [])
    assert "must be a bcrypt hash" in str(web.complaint)
    assert {record.message for record in caplog.records} == {
        "web configuration not loaded; only the probe listeners respond until it is valid"
    }
    with pytest.raises(AssertionError):
        _ = web.users  # no users would mean that everybody is let in

    (folder / "server.key").rename(folder / "hidden")
    written(folder, TLS + ALICE)
    poll(web)
    assert not web.loaded
    assert "tls_server_config.key_file: cannot be read" in str(web.complaint)

    (folder / "hidden").rename(folder / "server.key")
    poll(web)
    assert (web.loaded, web.ok, web.complaint, [*web.users]) == (True, True, None, ["alice"])
    assert isinstance(web.context, ssl.SSLContext)
    assert kept


def test_changed_users_are_used_once_the_file_stops_changing(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    web = WebConfigFile(written(tmp_path, ALICE))
    poll(web)
    assert caplog.records == []

    written(tmp_path, BOB)
    web.poll()
    assert list(web.users) == ["alice"]
    web.poll()
    web.poll()

    assert list(web.users) == ["bob"]
    assert [(record.message, record.fields) for record in caplog.records] == [
        ("web configuration loaded", {"users": 1})
    ]


def test_users_can_be_added_to_a_file_that_had_none(folder):
    web = WebConfigFile(written(folder, TLS))
    written(folder, TLS + ALICE)
    poll(web)

    assert list(web.users) == ["alice"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("basic_auth_users: {alice: secret}\n", [
            "web.yml:1: basic_auth_users.alice: must be a bcrypt hash: make one with `htpasswd -nB`"
        ]),
        (BOB.replace("$04$", "$15$"), [
            "web.yml:2: basic_auth_users.bob: must have a cost of at most 14: make one with `htpasswd -nB -C 10`"
        ]),
        ("a: [\n", ["web.yml:1: not YAML: did not find expected node content"]),
        ("", [
            "web.yml: basic_auth_users: authentication cannot be turned off while the exporter runs; restart it"
        ]),
        (TLS + BOB, [
            "web.yml: tls_server_config: TLS cannot be turned on while the exporter runs; restart it"
        ]),
        (None, ["web.yml: cannot be read: No such file or directory"]),
    ],
    ids=["not a hash", "cost", "not YAML", "empty", "TLS", "missing"],
)  # fmt: skip
def test_an_invalid_change_is_logged_once_and_keeps_the_users(folder, caplog, text, expected):
    web = WebConfigFile(written(folder, ALICE))
    written(folder, text) if text is not None else (folder / "web.yml").unlink()
    for _ in range(5):
        web.poll()

    assert [error.removeprefix(f"{folder}/") for error in errors(caplog)] == expected
    assert list(web.users) == ["alice"]
    assert not web.ok

    written(folder, BOB)
    poll(web)
    assert list(web.users) == ["bob"]
    assert web.ok


def test_a_change_that_is_taken_back_is_no_longer_an_error(tmp_path):
    """As in a Secret volume, where a link changes to a new folder and back."""
    for version, text in {"first": ALICE, "second": "wrong"}.items():
        (tmp_path / version).mkdir()
        written(tmp_path / version, text)
    link = tmp_path / "link"
    link.symlink_to("first")
    web = WebConfigFile(link / "web.yml")
    for version, ok in {"second": False, "first": True}.items():
        link.unlink()
        link.symlink_to(version)
        poll(web)
        assert web.ok is ok


def test_users_without_bcrypt_keep_the_previous_configuration(folder, caplog, monkeypatch):
    web = WebConfigFile(written(folder, TLS))
    monkeypatch.setitem(sys.modules, "bcrypt", None)  # its import fails with a ModuleNotFoundError
    written(folder, TLS + ALICE)
    poll(web)

    assert "requires the extra auth (module bcrypt is missing)" in errors(caplog)[0]
    assert (web.users, web.ok) == ({}, False)


def test_tls_cannot_be_turned_off(folder, caplog):
    web = WebConfigFile(written(folder, TLS + ALICE))
    written(folder, BOB)
    poll(web)

    assert "TLS cannot be turned off while the exporter runs" in errors(caplog)[0]
    assert list(web.users) == ["alice"]


def test_a_file_is_tried_again_when_only_the_files_that_it_names_have_changed(folder, authority, caplog):
    """The new certificate arrives after the configuration that names it."""
    web = WebConfigFile(written(folder, TLS + ALICE))
    written(folder, TLS.replace("server.", "next.") + BOB)
    for _ in range(5):
        web.poll()
    assert len(errors(caplog)) == 2
    assert list(web.users) == ["alice"]

    issue(authority, folder, "next")
    poll(web)

    assert list(web.users) == ["bob"]
    assert web.ok


def test_a_certificate_that_cannot_be_used_is_visible_until_it_can(folder: Path, authority: trustme.CA):
    web = WebConfigFile(written(folder, TLS))
    (folder / "server.crt").write_text("nothing")
    web.poll()
    assert not web.ok

    issue(authority, folder)
    web.poll()
    assert web.ok


def begin(web: WebConfigFile) -> ssl.SSLContext:
    """The context of the server's side of a new connection."""
    assert web.context is not None
    ours, theirs = socket.socketpair()
    with theirs, web.context.wrap_socket(ours, server_side=True, do_handshake_on_connect=False) as secured:
        return secured.context


def test_changed_tls_settings_are_used_for_new_connections(folder):
    """Also in a file that has never had users."""
    web = WebConfigFile(written(folder, TLS))
    assert begin(web).minimum_version == ssl.TLSVersion.TLSv1_2
    written(folder, TLS + "  min_version: TLS13\n")
    poll(web)

    assert web.ok
    assert begin(web).minimum_version == ssl.TLSVersion.TLSv1_3


def test_other_files_replace_a_certificate_that_cannot_be_used(folder, authority):
    web = WebConfigFile(written(folder, TLS))
    (folder / "server.crt").write_text("nothing")
    web.poll()
    assert not web.ok

    issue(authority, folder, "next")
    written(folder, TLS.replace("server.", "next."))
    poll(web)
    assert web.ok


def test_what_an_earlier_process_has_kept_is_used_while_the_files_are_invalid(folder, authority, caplog):
    kept: list[bytes] = []
    WebConfigFile(written(folder, TLS + ALICE), keep=kept.append)
    issue(authority, folder)
    (folder / "server.key").write_text("")
    (path := written(folder, "basic_auth_users: {alice: secret}\n")).touch()

    web = WebConfigFile(path, kept[-1], kept.append)
    poll(web)

    assert list(web.users) == ["alice"]
    assert web.context is not None
    assert not web.ok
    assert errors(caplog) == [f"{path}:1: basic_auth_users.alice: must be a bcrypt hash: make one with `htpasswd -nB`"]
    assert len(kept) == 1

    issue(authority, folder)
    written(folder, TLS + BOB)
    poll(web)

    assert list(web.users) == ["bob"]
    assert web.ok
    assert WebConfigFile(written(folder, "}"), kept[-1]).users == web.users


def test_kept_certificates_are_replaced_by_valid_ones(folder, authority):
    kept: list[bytes] = []
    path = written(folder, TLS)
    WebConfigFile(path, keep=kept.append)
    (folder / "server.key").unlink()
    web = WebConfigFile(path, kept[-1], kept.append)
    poll(web)
    assert (web.ok, len(kept)) == (False, 1)

    issue(authority, folder)
    poll(web)
    assert (web.ok, len(kept)) == (True, 2)

    issue(authority, folder)
    poll(web)
    assert (web.ok, len(kept)) == (True, 3)


# The real exporter


def request(exporter: Exporter, authority: trustme.CA, user: str, url: str = "") -> http.client.HTTPResponse:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    parts = urlsplit(url or exporter.url)
    headers = {"Authorization": f"Basic {base64.b64encode(f'{user}:right'.encode()).decode()}"} if user else {}
    connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=PATIENCE, context=context)
    with closing(connection):
        connection.request("GET", "/metrics", headers=headers)
        return connection.getresponse()


def test_the_exporter_lets_a_removed_user_in_no_longer(folder, authority, start):
    web = written(folder, TLS + ALICE)
    exporter = start("checks: [{name: a, exec: {command: ['true']}}]\n", "--web.config.file", str(web))
    assert [request(exporter, authority, user).status for user in ("alice", "bob", "")] == [200, 401, 401]

    written(folder, TLS + BOB)
    exporter.line('msg="web configuration loaded" users=1')
    assert [request(exporter, authority, user).status for user in ("alice", "bob", "")] == [401, 200, 401]

    written(folder, "")
    exporter.line(r"msg=\"web configuration not loaded; keeping the previous one\" error=.*authentication cannot be")
    assert [request(exporter, authority, user).status for user in ("alice", "bob", "")] == [401, 200, 401]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_exporter_resumes_no_session_of_a_removed_authority(folder, authority, start, version):
    first, second = trustme.CA(), trustme.CA()
    first.cert_pem.write_to_path(str(folder / "clients.pem"))
    text = TLS + "  client_ca_file: clients.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
    exporter = start(None, "--web.config.file", str(written(folder, text)))
    client = ssl.create_default_context()
    client.minimum_version = client.maximum_version = version
    authority.configure_trust(client)
    first.issue_cert("client").configure_cert(client)
    address = urlsplit(exporter.url)

    def scrape(session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        """Scrape with a session, end TLS properly, and return the session for the next connection."""
        sock = socket.create_connection((str(address.hostname), int(address.port or 0)), PATIENCE)
        with client.wrap_socket(sock, server_hostname="127.0.0.1", session=session) as secured:
            secured.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            if not secured.recv(65536).startswith(b"HTTP/1.1 200"):
                raise OSError("EOF")
            while secured.recv(65536):
                pass
            kept = secured.session
            with suppress(OSError):
                secured.unwrap()
            return kept

    session = scrape(scrape(None))
    second.cert_pem.write_to_path(str(folder / "clients.pem"))
    exporter.line('msg="certificate loaded"')
    for _ in range(2):
        with pytest.raises(OSError, match=r"alert|reset|EOF"):
            scrape(session)


def test_a_worker_that_follows_another_one_serves_as_before_if_the_files_have_become_invalid(folder, authority, start):
    web = written(folder, TLS + ALICE)
    exporter = start("checks: [{name: a, exec: {command: ['true']}}]\n", "--web.config.file", str(web))
    assert request(exporter, authority, "alice").status == 200

    (folder / "server.key").unlink()
    written(folder, TLS + "basic_auth_users: {alice: secret}\n")
    exporter.line("web configuration not loaded; keeping the previous one.*must be a bcrypt hash")
    (worker,) = psutil.Process(exporter.pid).children()
    worker.kill()

    exporter.line("web configuration not loaded; keeping the previous one", after=len(exporter.lines))
    assert [request(exporter, authority, user).status for user in ("alice", "")] == [200, 401]

    issue(authority, folder)
    written(folder, TLS + BOB)
    exporter.line('msg="web configuration loaded" users=1')
    assert [request(exporter, authority, user).status for user in ("alice", "bob")] == [401, 200]


def test_with_a_probe_listener_an_invalid_file_leaves_the_probes_alone(folder, authority, start):
    """The web listener opens with TLS and users, or not at all; a rollout stops meanwhile, and no application ends."""
    web = written(folder, TLS + "basic_auth_users: {alice: secret}\n")
    listen = ("--web.listen-address", f"127.0.0.1:{free_port()}", "--probe.listen-address", "127.0.0.1:0")
    exporter = start(
        "checks: [{name: a, exec: {command: ['true']}, periodSeconds: 1}]\n", "--web.config.file", str(web), *listen
    )
    exporter.line("web configuration not loaded; only the probe listeners respond.*must be a bcrypt hash")
    probes = exporter.url
    eventually(lambda: get(f"{probes}/readyz").status == 200)
    with socket.create_connection(("127.0.0.1", int(listen[1].rpartition(":")[2])), PATIENCE) as waiting:
        waiting.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        waiting.settimeout(1)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
    assert [get(f"{probes}{path}").status for path in ("/livez", "/-/healthy", "/-/ready")] == [200, 200, 503]

    written(folder, TLS + ALICE)
    url = exporter.line(r"msg=listening address=(https://\S+)/").group(1)
    assert [request(exporter, authority, user, url).status for user in ("alice", "")] == [200, 401]
    assert get(f"{probes}/-/ready").status == 200

    exporter.signal(signal.SIGTERM)
    assert exporter.wait() == 0


def test_a_strict_start_refuses_an_invalid_file_in_spite_of_a_probe_listener(folder):
    web = written(folder, "basic_auth_users: {alice: secret}\n")
    with ended(Exporter("--config.strict", "--web.config.file", str(web), "--probe.listen-address", ":0")) as exporter:
        assert exporter.wait() == 2
        assert "must be a bcrypt hash" in exporter.lines[0]
