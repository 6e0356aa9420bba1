"""Secrets: they are read, and never shown."""

import os

import pytest
from pydantic import PrivateAttr, ValidationError
from support import within

from exporter.model import Deadline, Outcome, ProbeError, Reason, Spec
from exporter.probe.check import Check, Probe
from exporter.probe.options import Options
from exporter.probe.secret import MAX_SECRET, BasicAuth, Secret, hint_at_password, withhold_secrets


def test_a_secret_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("API_TOKEN", "hunter2")
    secret = Secret(env="API_TOKEN")

    assert secret.read() == "hunter2"
    assert "hunter2" not in repr(secret)


def test_the_longest_secret_is_read_whole(tmp_path):
    (tmp_path / "token").write_bytes(b"x" * MAX_SECRET)

    assert Secret(file=tmp_path / "token").read(within(60)) == "x" * MAX_SECRET


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"sesame\n", "sesame"),
        (b"sesame\r\n", "sesame"),
        (b"sesame\n\n", "sesame"),
        (b"sesame", "sesame"),
        (b"\n sesame \n", "\n sesame "),
        (b"ses\name", "ses\name"),
        (b"\xef\xbb\xbfsesame\r\n", "sesame"),
        ("grün€\n".encode(), "grün€"),
        (b"\n", ""),
    ],
    ids=str,
)
def test_a_secret_is_read_alike_from_the_environment_and_from_a_file(tmp_path, monkeypatch, content, value):
    (tmp_path / "token").write_bytes(content)
    monkeypatch.setitem(os.environb, b"API_TOKEN", content)

    assert Secret(file=tmp_path / "token").read() == value
    assert Secret(env="API_TOKEN").read() == value


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("grün".encode("latin-1"), "not UTF-8 text"),
        (b"\xff\xfe" + "grün".encode("utf-16-le"), "UTF-16 or binary: save it as UTF-8 text"),
        (b"\xfe\xff" + "grün".encode("utf-16-be"), "UTF-16 or binary: save it as UTF-8 text"),
        ("sesame".encode("utf-16-le"), "UTF-16 or binary: save it as UTF-8 text"),
        (b"ses\0ame", "UTF-16 or binary: save it as UTF-8 text"),
    ],
    ids=["Latin-1", "UTF-16LE", "UTF-16BE", "no mark", "NUL"],
)
def test_a_secret_in_another_encoding_is_refused(tmp_path, content, words):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ProbeError) as raised:
        Secret(file=tmp_path / "token").read()

    assert str(raised.value) == f"the file {tmp_path}/token is {words}"


def test_an_environment_variable_that_is_not_utf_8_is_refused(monkeypatch):
    monkeypatch.setitem(os.environb, b"API_TOKEN", b"gr\xfcn")
    with pytest.raises(ProbeError) as raised:
        Secret(env="API_TOKEN").read()

    assert (raised.value.reason, str(raised.value)) == (
        Reason.ERROR,
        "the environment variable API_TOKEN is not UTF-8 text",
    )


@pytest.mark.parametrize(
    ("password", "hinted"),
    [
        ("", False),
        ("sesame", False),
        ("open sesame", False),
        (" sesame", True),
        ("sesame\t", True),
        ("sesame\xa0", True),
    ],
)
def test_white_space_around_a_password_is_named(password, hinted):
    assert hint_at_password(password) == (" (the password begins or ends with white space)" if hinted else "")


def test_every_run_reads_a_secret_from_its_file_again(tmp_path):
    file = tmp_path / "token"
    secret = Secret(file=file)
    values = []
    for text in ("first\n", "second\r\n", " with spaces \n"):
        file.write_text(text)
        values.append(secret.read())

    assert values == ["first", "second", " with spaces "]


@pytest.mark.parametrize("options", [{}, {"env": "A", "file": "b"}, {"value": "x"}])
def test_a_secret_has_exactly_one_source(options):
    with pytest.raises(ValidationError):
        Secret.model_validate(options)


def test_without_its_secret_a_check_cannot_run(tmp_path, monkeypatch):
    monkeypatch.delenv("API_TOKEN", raising=False)
    (tmp_path / "binary").write_bytes(b"\xff\xff")
    (tmp_path / "large").write_bytes(b"x" * (MAX_SECRET + 1))
    os.mkfifo(tmp_path / "fifo")
    for secret, reason in (
        (Secret(env="API_TOKEN"), Reason.MISSING),
        (Secret(file=tmp_path / "none"), Reason.MISSING),
        (Secret(file=tmp_path), Reason.ERROR),
        (Secret(file=tmp_path / "binary"), Reason.ERROR),
        (Secret(file=tmp_path / "large"), Reason.ERROR),
        (Secret(file=tmp_path / "fifo"), Reason.ERROR),
    ):
        with pytest.raises(ProbeError) as raised:
            secret.read()
        assert raised.value.reason is reason


class Server(Options):
    """Options inside options."""

    password: Secret


class Servers(Probe):
    """A kind with secrets in every place that options can have."""

    token: Secret | None = None
    basic_auth: BasicAuth | None = None
    servers: tuple[Server, ...] = ()
    by_name: dict[str, Server] | None = None

    _variables: frozenset[str] = PrivateAttr(default=frozenset())

    def probe(self, deadline: Deadline) -> Outcome:
        return Outcome.passed(" ".join(sorted(self._variables)))

    def withhold(self, variables: frozenset[str]) -> None:
        self._variables = variables


def test_the_variables_of_all_secrets_are_withheld_from_every_running_check():
    probes = [
        Servers(token=Secret(env="A")),
        Servers(token=Secret(file="/f"), basic_auth=BasicAuth(username="u", password=Secret(env="B"))),
        Servers(servers=(Server(password=Secret(env="C")),), by_name={"d": Server(password=Secret(env="D"))}),
        Servers(),
    ]
    checks = [Check(Spec(str(number), "servers"), probe) for number, probe in enumerate(probes)]
    withhold_secrets(checks, checks[2:])
    assert [probe.probe(Deadline(0)).summary for probe in probes] == ["", "", "A B C D", "A B C D"]

    withhold_secrets(checks[:1], checks[3:])
    assert probes[3].probe(Deadline(0)).summary == "A"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("API_TOKEN_2", "API_TOKEN_2"),
        ("hunter2", "(text of 7 characters)"),
        ("A-B", "(text of 3 characters)"),
    ],
)
def test_a_variable_that_is_not_set_is_named_only_if_it_looks_like_one(monkeypatch, name, shown):
    """In `{env: hunter2}`, the secret is in the place of its variable's name."""
    monkeypatch.delenv(name, raising=False)
    with pytest.raises(ProbeError) as raised:
        Secret(env=name).read()

    assert str(raised.value) == f"the environment variable {shown} is not set"


def test_the_path_of_a_missing_file_is_shown_only_if_it_is_absolute(tmp_path, monkeypatch):
    """In `{file: hunter2}`, the secret is in the place of the path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hunter3").mkdir()
    shown = []
    for path in ("hunter2", "hunter3", tmp_path / "token"):
        with pytest.raises(ProbeError) as raised:
            Secret(file=path).read()
        shown.append(str(raised.value))

    assert "hunter" not in "".join(shown)
    assert shown[0] == "the file (text of 7 characters) does not exist"
    assert str(tmp_path / "token") in shown[2]
