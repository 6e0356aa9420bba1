"""The commands inject, uninject and convert; in pipes, as processes."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import commands
import pytest
import yaml
from manifests.fifty_manifests import HERE, inject, read
from manifests.fifty_manifests import run as invoke

from exporter.config.checks import parse
from exporter.config.files import Text
from exporter.manifests.conversion import ASSUMED

WEB = read("deployment_http").decode()
OWN = str(HERE / "fifty" / "checks.yml")
ROOT = HERE.parent.parent
PROGRAM = [sys.executable, "-m", "exporter"]


def run(*arguments: str, content: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*PROGRAM, *arguments], input=content, capture_output=True, timeout=120, **options)


def test_a_pipe_is_injected_and_restored():
    injected = run("inject", content=WEB.encode())
    restored = run("uninject", "-", content=injected.stdout)

    assert (injected.returncode, restored.returncode) == (0, 0)
    assert yaml.safe_load(restored.stdout) == yaml.safe_load(WEB)
    name = yaml.safe_load(injected.stdout.partition(b"---")[0])["metadata"]["name"]
    note = f"stdin:14: deployment/web: restored. To delete its ConfigMap: kubectl delete configmap {name}\n"
    assert restored.stderr.decode().partition(": ")[2] == note.partition(": ")[2]


def test_the_output_is_utf_8_in_every_locale():
    content = WEB.replace("image: nginx", "# é\n          env: [{name: NAME, value: café}]\n          image: nginx")
    injected = run("inject", content=content.encode(), env={**os.environ, "PYTHONIOENCODING": "ascii"})

    assert "café" in injected.stdout.decode()


@pytest.mark.parametrize(
    ("arguments", "content", "message"),
    [
        (("inject", "missing.yaml"), "", "missing.yaml: cannot be read: No such file or directory"),
        (("inject", "."), "", ".: cannot be read: Is a directory"),
        (("inject", "--config.file", "missing.yml"), WEB, "missing.yml: cannot be read: No such file or directory"),
        (("inject",), "", "stdin: contains no workload: it is empty"),
        (("inject",), "a: '", "stdin:1: not YAML: a quote is not closed"),
        (("uninject",), WEB, "stdin: no workload has the exporter that inject adds"),
        (
            ("convert",),
            f"{WEB}---\n{WEB}",
            "stdin: has several workloads, give one of them: deployment/web, deployment/web",
        ),
        (("convert",), "kind: Service", "stdin: contains no workload, only: Service"),
    ],
)
def test_an_error_is_a_line_and_exit_code_2(arguments, content, message, tmp_path):
    refused = commands.run(*arguments, content=content.encode(), cwd=tmp_path)

    assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", f"{message}\n")


def test_every_error_of_the_configuration_has_its_line(tmp_path):
    (tmp_path / "own.yml").write_text("checks:\n  - name: web\n    httpGet: {prot: 80}\n    group: [liveness]\n")
    refused = commands.run("inject", "--config.file", tmp_path / "own.yml", content=WEB.encode())

    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        f"{tmp_path}/own.yml:3: checks[0].httpGet.prot: unknown key, did you mean port?",
        f"{tmp_path}/own.yml:4: checks[0].group: unknown key, did you mean groups?",
    ]


def test_a_terminal_is_not_read():
    master, terminal = pty.openpty()
    try:
        refused = subprocess.run([*PROGRAM, "inject"], stdin=terminal, capture_output=True, timeout=120)
    finally:
        os.close(master)
        os.close(terminal)

    assert refused.returncode == 2
    assert b"pipe one" in refused.stderr


def test_output_that_cannot_be_written_is_an_error():
    with Path("/dev/full").open("wb") as full:
        refused = subprocess.run(
            [*PROGRAM, "inject"], input=WEB.encode(), stdout=full, stderr=subprocess.PIPE, timeout=120
        )

    assert refused.returncode == 2
    assert b"could not be written: No space left on device" in refused.stderr


def test_convert_prints_the_configuration_that_inject_uses():
    converted = invoke("convert", read("live_last_applied"))
    injected = list(yaml.safe_load_all(inject("live_last_applied").stdout))

    assert converted.stdout.startswith(injected[0]["data"]["health.yml"])
    assert [check.spec.name for check in parse([Text("x", converted.stdout.encode())], ASSUMED).checks] == ["readiness"]


def test_convert_reads_an_injected_manifest_as_the_original():
    assert invoke("convert", inject("deployment_http").stdout.encode()).stdout == invoke("convert", WEB.encode()).stdout


def test_checks_of_the_user_are_not_replaced_by_converted_ones():
    injected = invoke("inject", WEB.encode(), "--config.file", OWN).stdout
    again = invoke("inject", injected.encode())

    assert again.exit_code
    assert again.stderr.strip().endswith("unchanged, because its checks are from --config.file: give the file again")


def test_a_certificate_of_the_user_does_not_replace_the_readiness_probe(tmp_path):
    """It is in no group by default, so /readyz would be 200 whatever the application does."""
    checks = (
        "checks: [{name: tls, certificate: {host: shop.example}}, {name: a, httpGet: {port: 80}, groups: [startup]}]"
    )
    (tmp_path / "own.yml").write_text(checks)
    injected = invoke("inject", WEB.encode(), "--config.file", str(tmp_path / "own.yml")).stdout
    before, after = (
        next(item for item in yaml.safe_load_all(text) if item["kind"] == "Deployment")["spec"]["template"]["spec"]
        for text in (WEB, injected)
    )

    assert after["containers"][0]["readinessProbe"] == before["containers"][0]["readinessProbe"]
    assert after["containers"][0]["startupProbe"]["httpGet"]["path"] == "/startupz"


def test_the_config_map_of_a_workload_that_stays_is_kept():
    own = invoke("inject", WEB.encode(), "--config.file", OWN).stdout
    both = invoke("inject", f"{own}---\n{WEB.replace('web', 'api')}".encode())
    objects = list(yaml.safe_load_all(both.stdout))

    assert [item["metadata"]["name"][:11] for item in objects] == ["web-health-", "web", "api-health-", "api"]


def test_an_annotation_keeps_the_exporter_away():
    disabled = WEB.replace("name: web\nspec", "name: web\n  annotations: {health-exporter/inject: disabled}\nspec")
    refused = invoke("inject", disabled.encode())

    assert refused.exit_code
    assert "unchanged, because its annotation health-exporter/inject is disabled" in refused.stderr


def test_a_config_map_comes_after_its_namespace():
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n"
    injected = invoke(
        "inject", (namespace + WEB.replace("name: web\nspec", "name: web\n  namespace: shop\nspec")).encode()
    )
    objects = list(yaml.safe_load_all(injected.stdout))

    assert [item["kind"] for item in objects] == ["Namespace", "ConfigMap", "Deployment"]
    assert objects[1]["metadata"]["namespace"] == "shop"


def test_equal_configurations_of_workloads_with_one_name_are_one_config_map():
    stream = f"{WEB}---\n{WEB.replace('Deployment', 'StatefulSet')}".encode()
    injected = invoke("inject", stream, "--config.file", OWN)

    kinds = [item["kind"] for item in yaml.safe_load_all(injected.stdout)]
    assert kinds == ["ConfigMap", "Deployment", "StatefulSet"]


@pytest.mark.parametrize("depth", [1, 2])
def test_the_config_map_of_an_earlier_inject_is_replaced_and_removed_in_a_list_too(depth):
    objects = list(yaml.safe_load_all(inject("deployment_http").stdout))
    document = {"apiVersion": "v1", "kind": "List", "items": objects}
    for _ in range(depth - 1):
        document = {"apiVersion": "v1", "kind": "List", "items": [document]}
    again = invoke("inject", yaml.safe_dump(document).encode()).stdout
    restored = invoke("uninject", yaml.safe_dump(document).encode()).stdout

    assert (again.count("kind: ConfigMap"), restored.count("kind: ConfigMap")) == (1, 0)
    assert restored.count("kind: Deployment") == 1


def place_port(key: str, **container: Any) -> str:
    pod = yaml.safe_load(WEB)
    ports = [{"containerPort": 4584}]
    pod["spec"]["template"]["spec"].setdefault(key, []).append({"name": "other", "ports": ports, **container})
    return yaml.safe_dump(pod)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (place_port("containers"), ("--container", "web")),
        (place_port("initContainers", restartPolicy="Always"), ()),
        (place_port("initContainers"), ("--native",)),
    ],
    ids=["container", "native-sidecar", "init-container-beside-a-native-exporter"],
)
def test_the_port_of_the_exporter_must_be_free_in_every_container_that_runs_beside_it(content, options):
    refused = invoke("inject", content.encode(), *options)

    assert refused.exit_code
    assert "the container other uses port 4584, which the exporter needs" in refused.stderr


def test_an_init_container_that_ends_before_the_exporter_starts_may_use_its_port():
    assert invoke("inject", place_port("initContainers").encode()).exit_code == 0


@pytest.mark.parametrize(
    ("options", "effect"),
    [
        ((), "the kubelet restarts the application every 121 s"),
        (("--native",), "the application does not start"),
        (("--image", "registry.example/health-exporter:0.1.0"), None),
    ],
)
def test_an_image_without_a_registry_has_a_warning(options, effect):
    warnings = [line for line in invoke("inject", WEB.encode(), *options).stderr.splitlines() if "registry" in line]

    assert [line.rpartition(", and ")[2] for line in warnings] == ([effect] if effect else [])


def test_an_annotation_that_was_changed_is_refused():
    injected = inject("deployment_http").stdout.replace('"container": "web"', '"container": "gone"')
    refused = invoke("uninject", injected.encode())

    assert refused.exit_code
    assert "the annotation health-exporter/original does not fit the pod: restore it by hand" in refused.stderr


@pytest.mark.parametrize(
    "record",
    [
        '{"container": "web", "numbers": {}, "probes": {"livenessProbe": ' + "[" * 900 + "]" * 900 + "}}",
        '{"container": "web", "numbers": {}, "probes": {"livenessProbe": ' + "[" * 100_000 + "]" * 100_000 + "}}",
        '{"container": "web", "numbers": {}, "probes": {"livenessProbe": {"a": ' + "[" * 100 + "]" * 100 + "}}}",
        '{"container": "web", "numbers": {}, "probes": {"livenessProbe": {"periodSeconds": NaN}}}',
        '{"container": "web", "numbers": {}, "probes": {"livenessProbe": {"periodSeconds": 1e999}}}',
        '{"container": "web", "numbers": {}, "probes": {"livenessProbe": {"httpGet": {"path": "\\ud800"}}}}',
        '{"container": "web", "numbers": {}, "probes": {"livenessProbe": 5}}',
        '{"container": ["web"], "numbers": {}, "probes": {}}',
        "[" * 100_000,
    ],
    ids=["deep", "deeper", "deep_probe", "nan", "infinite", "surrogate", "number", "list", "open"],
)
@pytest.mark.parametrize("command", ["inject", "uninject", "convert"])
def test_a_forged_annotation_is_refused(command, record):
    documents = list(yaml.safe_load_all(inject("deployment_http").stdout))
    documents[1]["spec"]["template"]["metadata"]["annotations"]["health-exporter/original"] = record
    refused = invoke(command, yaml.safe_dump(documents[1]).encode())

    assert (type(refused.exception), refused.stdout) == (SystemExit, "")
    assert "the annotation health-exporter/original does not fit the pod: restore it by hand" in refused.stderr


@pytest.mark.parametrize(
    "arguments", [["inject"], ["uninject"], ["convert"], ["inject", "--config.file", "/dev/zero", "web.yaml"]]
)
def test_a_file_without_an_end_is_read_up_to_the_limit(arguments, tmp_path):
    (tmp_path / "web.yaml").write_text(WEB)
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29)); from exporter.__main__ import main"
    path = [] if "web.yaml" in arguments else ["/dev/zero"]
    program = [sys.executable, "-c", f"{code}; import sys; sys.exit(main())", *arguments, *path]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    refused = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)

    assert refused.returncode == 2
    assert refused.stderr.startswith("/dev/zero: is larger than ")


def test_a_pipe_without_an_end_is_read_up_to_the_limit():
    with subprocess.Popen(["yes", "a: b"], stdout=subprocess.PIPE) as endless:
        refused = subprocess.run([*PROGRAM, "inject"], stdin=endless.stdout, capture_output=True, timeout=120)
        endless.kill()

    assert (refused.returncode, refused.stderr) == (2, b"stdin: is larger than 16 MiB\n")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("web-health-0123456789", " To delete its ConfigMap: kubectl delete configmap web-health-0123456789"),
        ("x; touch owned #-health-0123456789", ""),
        ("-x-health-0123456789", ""),
        ("settings", ""),
    ],
)
def test_a_note_has_a_command_only_for_a_config_map_of_inject(name, command):
    documents = list(yaml.safe_load_all(inject("deployment_http").stdout))
    documents[1]["metadata"]["namespace"] = "a; b"
    documents[1]["spec"]["template"]["spec"]["volumes"][-1]["configMap"]["name"] = name
    restored = invoke("uninject", yaml.safe_dump(documents[1]).encode())

    expected = f"restored.{command} --namespace='a; b'\n" if command else "restored\n"
    assert restored.stderr.endswith(f"deployment/web: {expected}")


def test_a_name_cannot_control_the_terminal():
    content = WEB.replace("name: web\nspec", 'name: "web\\e]0;title\\a\\nweb.yaml: forged"\nspec')
    injected = invoke("inject", content.encode())

    assert injected.stderr.splitlines()[0].startswith("stdin:1: deployment/web?]0;title??web.yaml: forged: added ")
    assert all(line.isprintable() for line in injected.stderr.splitlines())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("port: 80", "port: " + repr("8" * 5000), "the container has no port with this name"),
        ("name: web\n          ", "name: null\n          ", "a container of the Deployment has no name"),
    ],
)
def test_an_unusable_value_is_refused(old, new, message):
    content = re.sub(old, lambda _: new, WEB)
    assert content != WEB
    refused = invoke("inject", content.encode())

    assert isinstance(refused.exception, SystemExit)
    assert message in refused.stderr


@pytest.mark.parametrize("name", ["X-Auth-Token", "X-Api-Key", "authorization"])
def test_a_header_that_may_be_a_secret_is_noted(name):
    pod = {"containers": [{"name": "web", "livenessProbe": {"httpGet": {"port": 80, "httpHeaders": []}}}]}
    pod["containers"][0]["livenessProbe"]["httpGet"]["httpHeaders"] = [{"name": name, "value": "hunter2"}]
    content = yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": pod})

    assert "a header may be a secret, which the ConfigMap now shows too" in invoke("inject", content.encode()).stderr


def test_a_query_that_may_be_a_secret_is_noted():
    modules = b"modules: {http_2xx: {prober: http}}"
    converted = invoke("convert", modules, "--target", "http://shop.example/a?q=hunter2")

    assert "http://shop.example/a: the query of the URL may be a secret, which the configuration" in converted.stderr
    assert "hunter2" not in converted.stderr


def test_the_room_is_not_loaded_by_serve():
    code = (
        "import sys; from exporter import assembly, cli; print([name for name in sys.modules if 'manifests' in name])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)

    assert loaded.stdout.strip() == "[]"


def test_validate_and_check_read_standard_input():
    text = b"checks:\n  - {name: a, memory: {}, groups: []}\n"
    valid = commands.run("validate", "-", content=text)
    invalid = commands.run("validate", "-", content=b"checks:\n  - {name: a, memori: {}}\n")
    checked = commands.run("check", "--config.file", "-", content=text)

    assert valid.stdout.splitlines()[-1] == "stdin: valid, 1 check"
    assert invalid.returncode == 2
    assert invalid.stderr.startswith("stdin:2: checks[0]")
    assert "memory" in checked.stdout


def test_what_convert_prints_is_valid():
    converted = commands.run("convert", content=read("slow_start"))

    assert commands.run("validate", "-", content=converted.stdout.encode()).returncode == 0
