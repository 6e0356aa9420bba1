"""Secrets: they are read, and never shown."""

import pytest
from pydantic import ValidationError

from exporter.model import ProbeError, Reason
from exporter.probe.secret import Secret


def test_a_secret_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("API_TOKEN", "hunter2")
    secret = Secret(env="API_TOKEN")

    assert secret.read() == "hunter2"
    assert "hunter2" not in repr(secret)


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
    for secret, reason in (
        (Secret(env="API_TOKEN"), Reason.MISSING),
        (Secret(file=tmp_path / "none"), Reason.MISSING),
        (Secret(file=tmp_path), Reason.ERROR),
        (Secret(file=tmp_path / "binary"), Reason.ERROR),
    ):
        with pytest.raises(ProbeError) as raised:
            secret.read()
        assert raised.value.reason is reason
