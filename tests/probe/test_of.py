"""The option `of`: which are valid, and what a check with it is called."""

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from exporter.cli.main import cli
from exporter.kinds.cpu import Cpu
from exporter.kinds.disk import Disk
from exporter.kinds.file import File
from exporter.kinds.memory import Memory
from exporter.kinds.pressure import Pressure

NGINX = {"process": "nginx"}
SCOPED = {"scope": "container", "of": NGINX}


@pytest.mark.parametrize(
    "of", [{}, {"process": "a", "commandLine": "b"}, {"process": ""}, {"name": "nginx"}, "nginx"], ids=str
)
def test_invalid_processes_are_rejected(of):
    with pytest.raises(ValidationError):
        File(path="/tmp/healthy", of=of)


@pytest.mark.parametrize(
    ("kind", "options"), [(Memory, {}), (Cpu, {}), (Pressure, {"resource": "io"})], ids=["memory", "cpu", "pressure"]
)
def test_the_whole_machine_is_not_in_a_container(kind, options):
    with pytest.raises(ValidationError, match="of requires scope: container"):
        kind(**options, of=NGINX)


@pytest.mark.parametrize(
    ("probe", "target"),
    [
        (Memory(**SCOPED), "container of process nginx"),
        (Cpu(**SCOPED), "container of process nginx"),
        (Pressure(resource="io", **SCOPED), "io of container of process nginx"),
        (Disk(path="/data", of=NGINX), "/data of process nginx"),
        (File(path="/tmp/healthy", of=NGINX), "/tmp/healthy of process nginx"),
        (File(path="/tmp/healthy", of={"commandLine": "app.jar$"}), "/tmp/healthy of process matching app.jar$"),
    ],
    ids=str,
)
def test_the_target_names_the_process(probe, target):
    assert probe.target == target


@pytest.mark.parametrize(
    "probe", [Memory(**SCOPED), Cpu(**SCOPED), Pressure(resource="io", **SCOPED), File(path="/x", of=NGINX)], ids=str
)
def test_a_restart_may_fix_the_application_s_own_container(probe):
    assert probe.liveness_risk() is None


def test_validate_does_not_look_for_the_process(tmp_path):
    """It may run on another machine."""
    config = tmp_path / "health.yml"
    config.write_text(
        "checks: [{name: a, file: {path: /tmp/healthy, of: {process: never-started}}, groups: [liveness, startup]},"
        "{name: b, memory: {scope: container, of: {process: never-started}}, groups: [liveness, startup]}]"
    )
    result = CliRunner().invoke(cli, ["validate", "--scrape-interval", "1", str(config)])

    assert (result.exit_code, result.output) == (0, f"{config}: valid, 2 checks\n")
