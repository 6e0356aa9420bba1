"""The command `convert`, for the configuration that docs/migration.md moves."""

import re
from pathlib import Path

import commands

from exporter.config.checks import parse
from exporter.config.files import Text

PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()


def convert(tmp_path, *options):
    for name in ("blackbox.yml", "prometheus.yml"):
        text = re.search(rf"```yaml\n(# {name}\n.*?)```", PAGE, re.DOTALL)[1]
        (tmp_path / name).write_text(text)
    return commands.run("convert", tmp_path / "blackbox.yml", *options, cwd=tmp_path)


def test_the_configuration_is_on_standard_output_and_the_notes_are_not(tmp_path):
    done = convert(tmp_path, "--prometheus.config", "prometheus.yml", "--target", "dns=10.0.0.10")

    assert done.returncode == 0
    checks = parse([Text("health.yml", done.stdout.encode())]).checks
    assert [(check.spec.name, check.spec.kind) for check in checks] == [
        ("shop.internal-health", "httpGet"),
        ("10.0.0.10", "dns"),
    ]
    assert "left out, because no target uses them: tcp_connect, tls" in done.stderr


def test_without_a_target_it_is_an_error(tmp_path):
    done = convert(tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert "has no targets" in done.stderr


def test_a_manifest_needs_no_targets(tmp_path):
    manifest = Path(__file__).parent / "fifty" / "deployment_http.yaml"
    refused = commands.run("convert", manifest, "--target", "web")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"{manifest}: has no modules of blackbox_exporter, so it needs no targets\n"
