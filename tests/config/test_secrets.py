"""No complaint shows a value of the file: it may be a secret in the wrong place."""

import json
from typing import Any

import pytest
from click.testing import CliRunner
from config.canaries import (
    BROKEN_YAML,
    CANARY,
    KEY,
    NUMBER,
    TEXTS,
    fill,
    find_places,
    make_checks,
    shows_canary,
    write_json,
)
from config.loading import parse
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from exporter.cli.main import cli
from exporter.config.advice import give_advice
from exporter.config.checks import load
from exporter.config.complaint import ConfigError
from exporter.config.web import WebConfig
from exporter.kinds import kinds
from exporter.kinds.http_get import HttpGet
from exporter.server.reload import Reloader


@pytest.fixture
def file(tmp_path):
    return tmp_path / "health.yml"


def complaints(file) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(file)
    return str(error.value).splitlines()


@pytest.mark.parametrize("kind", kinds())
def test_a_canary_in_any_place_of_a_kind_is_not_shown(file, kind):
    checks = make_checks(kind)
    file.write_text(write_json(checks))
    found = complaints(file)

    assert [line for line in found if shows_canary(line)] == []
    assert len(found) > len(checks) / 2

    wrong = {int(line.partition("checks[")[2].partition("]")[0]) for line in found if "checks[" in line}
    valid = [{**check, "name": f"c{index}"} for index, check in enumerate(checks) if index not in wrong]
    file.write_text(write_json(valid))
    config = load(file)

    assert [str(advice) for advice in give_advice(config, 30) if shows_canary(str(advice))] == []
    assert len(config.checks) == len(valid) > 0


@pytest.mark.parametrize("text", BROKEN_YAML, ids=[text[:40] for text in BROKEN_YAML])
def test_a_canary_in_an_error_of_yaml_is_not_shown(file, text, caplog):
    file.write_text(text)
    reloader = Reloader([file], lambda: len(load(file).checks))
    reloader.start()
    response = reloader.reload()
    reloader.stop()
    result = CliRunner().invoke(cli, ["validate", str(file)])

    assert response
    assert result.exit_code != 0
    assert str(file) in result.output
    shown = [response, result.output, caplog.text, *(record.fields["error"] for record in caplog.records)]
    assert [text for text in shown if shows_canary(text)] == []
    assert str(file) in response


WEB = WebConfig.model_json_schema()


def test_a_canary_in_any_place_of_the_web_configuration_is_not_shown(tmp_path):
    documents = list(fill({"tls_server_config": {}}, find_places(WEB, WEB)))
    shown = []
    for document in documents:
        path = tmp_path / "web.yml"
        path.write_text(json.dumps(document))
        with pytest.raises(ConfigError) as error:
            WebConfig.read(path)
        shown.append(str(error.value))

    assert len(shown) > 100
    assert [text for text in shown if shows_canary(text)] == []


class Plugin(BaseModel):
    """A model whose code shows values, as that of a plugin may."""

    model_config = ConfigDict(extra="forbid")

    secret: str = ""
    number: int = 0
    several: dict[str, Any] = {}
    custom: str = ""
    crashing: str = ""

    @field_validator("secret", "number")
    @classmethod
    def _refuse(cls, value: Any) -> Any:
        if value:
            raise ValueError(f"{value!r} is bad: {value}, that is\n{str(value).upper()} or {str(value)[3:]}")
        return value

    @field_validator("custom")
    @classmethod
    def _refuse_too(cls, value: str) -> str:
        raise PydanticCustomError("verbatim", "not {value}", {"value": value})

    @field_validator("crashing")
    @classmethod
    def _crash(cls, value: str) -> str:
        raise KeyError(value)

    @model_validator(mode="after")
    def _refuse_all(self) -> "Plugin":
        if self.several:
            raise ValueError(f"cannot use {self.several}")
        return self


@pytest.mark.parametrize("text", [text for text in TEXTS if "\0" not in text])
@pytest.mark.parametrize("key", ["secret", "custom", "crashing", "several"])
def test_the_message_of_a_plugin_is_shown_without_the_value(key, text):
    value = {"deep": [text]} if key == "several" else text
    document = parse(json.dumps({key: value}))
    with pytest.raises(ConfigError) as error:
        document.validate(Plugin)

    (line,) = str(error.value).splitlines()
    assert not shows_canary(line)
    assert len(line) < 400
    assert any(word in line for word in ("is bad", "not***", "not ***", "KeyError (test_secrets.py:", "cannot use"))


def test_the_number_in_the_message_of_a_plugin_is_not_shown():
    with pytest.raises(ConfigError) as error:
        parse(f"number: {NUMBER}\n").validate(Plugin)

    assert str(error.value) == "x.yml:1: number: *** is bad: ***, that is *** or 53099"


def test_a_complaint_about_a_crash_comes_with_the_others():
    with pytest.raises(ConfigError) as error:
        parse(f"crashing: {CANARY}\nnumber: !x 1\n").validate(Plugin)

    crash, tag = str(error.value).splitlines()
    assert crash.startswith("x.yml:1: the code of a kind failed: KeyError (test_secrets.py:")
    assert tag.startswith("x.yml:2: number: has an unsupported tag")


def test_a_crash_in_the_target_of_a_plugin_is_a_complaint_about_its_check(file, monkeypatch):
    monkeypatch.setattr(HttpGet, "target", property(lambda probe: {}[CANARY]))
    file.write_text("checks:\n  - {name: a, disk: {}}\n  - {name: b, httpGet: {port: 80}}\n")

    (line,) = complaints(file)
    assert line.startswith(f"{file}:3: checks[1]: the code of a kind failed: KeyError (test_secrets.py:")


def test_a_lack_of_memory_is_not_a_complaint(file, monkeypatch):
    def target(probe):
        raise MemoryError

    monkeypatch.setattr(HttpGet, "target", property(target))
    file.write_text("checks:\n  - {name: b, httpGet: {port: 80}}\n")

    with pytest.raises(MemoryError):
        load(file)


def test_pydantic_s_own_error_shows_no_value():
    with pytest.raises(ValidationError) as error:
        HttpGet.model_validate({"port": CANARY, "httpHeaders": [{"name": KEY, "value": NUMBER}]})

    assert not shows_canary(str(error.value))
    assert error.value.error_count() == 3
