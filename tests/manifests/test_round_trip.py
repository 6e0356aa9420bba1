"""Any manifest: other values keep their meaning, and inject can be undone."""

import json
import subprocess
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from manifests.fifty_manifests import NAMES, inject, read, run
from manifests.test_inject import EMPTY, graphs
from support import command

from exporter.config.complaint import ConfigError
from exporter.manifests.inject import Settings, uninject
from exporter.manifests.inject import inject as inject_exporter
from exporter.manifests.workloads import read as read_documents
from exporter.manifests.writer import write

PLAIN = ["0644", "1e3", "on", "No", "~", "0x1F", "1_000", "12:30:45", "2001-12-14", ".5", "-", "=", "<<", "a: b"]
LETTERS = st.characters(codec="utf-8", exclude_characters="\0\ufeff", exclude_categories=["Cs", "Cc"])
TEXTS = st.text(LETTERS, max_size=20)
SCALARS = st.one_of(TEXTS, st.sampled_from(PLAIN), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))
LINES = st.lists(st.one_of(TEXTS, st.sampled_from(["", "  x", "\t", "x "])), max_size=4).map("\n".join)
VALUES = st.recursive(
    SCALARS | LINES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)
STYLES = st.sampled_from([None, '"', "'", "|", ">"])


def some(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings with these keys, and with any of the optional ones with one of their values."""
    values = {key: value if isinstance(value, st.SearchStrategy) else st.just(value) for key, value in required.items()}
    return st.fixed_dictionaries(values, optional={key: st.sampled_from(value) for key, value in optional.items()})


PORTS = st.sampled_from([80, "http"])
HANDLERS = st.one_of(
    some({"httpGet": some({"port": PORTS}, path=["/x", ""], scheme=["HTTPS"], host=["a"], httpHeaders=[None, []])}),
    some({"tcpSocket": some({"port": PORTS}, host=["localhost"])}),
    some({"grpc": {"port": 5000, "service": None}}),
    some({"grpc": {"port": 5000, "mode": "TLS"}}),
    some({"exec": {"command": ["true"]}}),
)
NUMBERS = st.sampled_from(["initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold"])
PROBES = st.builds(dict.__or__, HANDLERS, st.dictionaries(NUMBERS, st.integers(0, 400), max_size=4))
CONTAINERS = st.fixed_dictionaries(
    {"name": st.just("web"), "ports": st.just([{"name": "http", "containerPort": 8080}])},
    optional={key: st.none() | PROBES for key in ("livenessProbe", "readinessProbe", "startupProbe")},
)
SPECS = some(
    {"containers": st.tuples(CONTAINERS).map(list)},
    volumes=[None, [], [{"name": "data", "emptyDir": {}}]],
    initContainers=[None, [], [{"name": "migrate"}]],
    restartPolicy=["Always", "Never"],
)
PODS = some(
    {"apiVersion": "v1", "kind": "Pod", "spec": SPECS},
    metadata=[{}, {"annotations": None}, {"annotations": {"a": "1"}}],
)


@given(VALUES, STYLES, st.booleans())
def test_every_value_keeps_its_meaning(value, style, flow):
    text = yaml.safe_dump({"x": value}, default_style=style, default_flow_style=flow, allow_unicode=True)
    written = write(read_documents(text.encode(), "x"))

    assert yaml.safe_load(written) == yaml.safe_load(text)
    assert graphs(written.encode()) == graphs(text.encode())


@given(PODS, st.booleans())
def test_every_inject_can_be_repeated_and_undone(pod, native):
    text = yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Pod", **pod, "more": {"plain": "0644"}}, sort_keys=False
    ).encode()
    try:
        injected = inject_exporter(text, "x", Settings((), "health-exporter", native, None)).text.encode()
    except ConfigError as error:
        assume("has no probe" not in str(error) and "has only exec probes" not in str(error))
        raise

    assert inject_exporter(injected, "x", Settings((), "health-exporter", native, None)).text.encode() == injected
    assert graphs(uninject(injected, "x").text.encode()) == graphs(text)


@pytest.mark.parametrize("name", ["deployment_named_ports", "helm_output", "scalars", "empty_documents"])
def test_line_ends_and_a_byte_order_mark_do_not_matter(name):
    content = read(name)
    expected = inject(name).stdout

    assert run("inject", content.replace(b"\n", b"\r\n")).stdout == expected
    assert run("inject", b"\xef\xbb\xbf" + content).stdout == expected


def test_json_and_yaml_give_the_same():
    content = json.dumps(yaml.safe_load(read("deployment_https_with_headers"))).encode()
    injected = run("inject", content).stdout

    assert graphs(injected.encode()) == graphs(inject("deployment_https_with_headers").stdout.encode())


def test_kubectl_reads_what_is_written_as_it_reads_the_original(tmp_path):
    """Also the values whose type depends on the version of YAML."""
    accepted = [name for name in NAMES if not name.startswith("refused")]
    for name in accepted:
        (tmp_path / f"{name}.in.yaml").write_bytes(read(name))
        (tmp_path / f"{name}.out.yaml").write_text(run("uninject", inject(name).stdout.encode()).stdout)
    original, restored = (load(*(str(tmp_path / f"{name}.{end}.yaml") for name in accepted)) for end in ("in", "out"))

    assert restored == original


def load(*files: str) -> list[Any]:
    """The objects in files as kubectl reads them, without nulls, and without empty values that mean nothing."""
    words = [word for file in files for word in ("-f", file)]
    printed = subprocess.run(
        [command("kubectl"), "label", "--local", "--overwrite", "--output=json", *words, "read=by-kubectl"],
        capture_output=True,
        text=True,
        env={"HOME": "/nonexistent", "KUBECONFIG": "/nonexistent"},
    )
    assert printed.returncode == 0, printed.stderr
    stream, found, decoder = printed.stdout, [], json.JSONDecoder()
    while stream := stream.lstrip():
        value, end = decoder.raw_decode(stream)
        found.append(simplify(value))
        stream = stream[end:]
    return found


def simplify(value: Any) -> Any:
    if isinstance(value, list):
        return [simplify(item) for item in value]
    if not isinstance(value, dict):
        return value
    pairs = {key: simplify(item) for key, item in value.items() if item is not None}
    return {key: item for key, item in pairs.items() if item or key not in EMPTY}


@pytest.mark.parametrize(
    ("file", "live"),
    [
        ({"httpGet": {"port": 80}}, {"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}}),
        ({"httpGet": {"port": 80, "path": "", "httpHeaders": []}}, {"httpGet": {"path": "/", "port": 80}}),
        ({"grpc": {"port": 80}}, {"grpc": {"port": 80, "service": ""}}),
        ({"grpc": {"port": 80}}, {"grpc": {"port": 80, "mode": "Plaintext"}}),
    ],
)
def test_the_checks_of_a_file_are_those_of_its_object_in_the_cluster(file, live):
    """The API server adds defaults. A difference would be another ConfigMap, and with it a rollout."""
    manifests = [
        {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "web", "livenessProbe": probe}]}}
        for probe in (file, live)
    ]
    converted = [run("convert", yaml.safe_dump(manifest).encode()) for manifest in manifests]

    assert converted[0].exit_code == 0
    assert converted[0].stdout == converted[1].stdout
