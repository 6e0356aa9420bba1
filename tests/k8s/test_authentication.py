"""The component authentication: TLS and passwords for everything but the probes, which keep their port."""

import base64
import http.client
import re
import shutil
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
import yaml
from k8s.kustomized import (
    ALONE,
    CUSTOM,
    K8S,
    OVERLAYS,
    ROOT,
    SIDECARS,
    Object,
    add_components,
    build,
    containers,
    of_kind,
    only,
)
from k8s.test_operator_models import find_errors, models  # noqa: F401  # a fixture
from support import Exporter, ended, get
from web_files import hashed

README = (K8S / "README.md").read_text()
PAGE = (ROOT / "docs" / "authentication.md").read_text()
MONITOR = {**dict.fromkeys(ALONE, "servicemonitor"), **dict.fromkeys(SIDECARS, "podmonitor")}
AUTHENTICATION = {
    **dict.fromkeys(ALONE, "authentication"),
    **{name: f"{name}/authentication" for name in SIDECARS},
}
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Object, ...]]:
    """The objects of each overlay with the component."""
    built = {}
    for name in OVERLAYS:
        folder = tmp_path_factory.mktemp(name)
        shutil.copytree(K8S, folder / "k8s")
        kustomization = folder / "k8s" / "overlays" / name / "kustomization.yaml"
        add_components(kustomization, [MONITOR[name], AUTHENTICATION[name]])
        built[name] = build(kustomization.parent)
    return built


by_overlay = pytest.mark.parametrize("name", OVERLAYS)


def pod_of(objects: tuple[Object, ...]) -> Object:
    spec: Object = only(objects, "Deployment", "StatefulSet", "DaemonSet")["spec"]["template"]["spec"]
    return spec


def exporter_of(objects: tuple[Object, ...]) -> Object:
    (found,) = (container for container in containers(pod_of(objects)) if container["name"] == "health-exporter")
    return found


def ports(objects: tuple[Object, ...]) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in exporter_of(objects)["ports"]}


def argument(objects: tuple[Object, ...], name: str) -> str:
    (value,) = (text.partition("=")[2] for text in exporter_of(objects)["args"] if text.startswith(f"{name}="))
    return value


@by_overlay
def test_the_arguments_and_the_ports_agree(guarded: dict[str, tuple[Object, ...]], name: str) -> None:
    objects = guarded[name]
    assert argument(objects, "--probe.listen-address") == f":{ports(objects)['http-probes']}" == ":4584"
    assert argument(objects, "--web.listen-address") == f":{ports(objects)['http-health']}" == ":4585"


@by_overlay
def test_only_three_arguments_are_added(guarded: dict[str, tuple[Object, ...]], name: str) -> None:
    plain = exporter_of(build(K8S / "overlays" / name))["args"]
    added = [text.partition("=")[0] for text in exporter_of(guarded[name])["args"] if text not in plain]
    assert [text for text in exporter_of(guarded[name])["args"] if text in plain] == plain
    assert added == ["--web.config.file", "--web.listen-address", "--probe.listen-address"]


@by_overlay
def test_every_probe_uses_the_listener_without_credentials(guarded: dict[str, tuple[Object, ...]], name: str) -> None:
    exporter = exporter_of(guarded[name])
    own = {type_: exporter[type_]["httpGet"] for type_ in PROBES if type_ in exporter}
    paths = {type_: "/-/ready" if type_ == "readinessProbe" else "/-/healthy" for type_ in own}
    applications = [
        container[type_]["httpGet"]["port"]
        for container in containers(pod_of(guarded[name]))
        if container["name"] != "health-exporter"
        for type_ in PROBES
    ]
    assert own
    assert own == {type_: {"path": path, "port": "http-probes"} for type_, path in paths.items()}
    assert applications == ([4584] * 3 if name in SIDECARS else [])


@by_overlay
def test_the_configuration_is_mounted_as_a_folder(guarded: dict[str, tuple[Object, ...]], name: str) -> None:
    (mount,) = (mount for mount in exporter_of(guarded[name])["volumeMounts"] if mount["name"] == "health-exporter-web")
    (volume,) = (volume for volume in pod_of(guarded[name])["volumes"] if volume["name"] == mount["name"])
    assert mount["readOnly"] is True
    assert "subPath" not in mount
    assert argument(guarded[name], "--web.config.file") == f"{mount['mountPath']}/web.yml"
    sources = [source["secret"] for source in volume["projected"]["sources"]]
    assert sources == [{"name": "health-exporter-web"}, {"name": "health-exporter-tls"}]


def endpoint_of(objects: tuple[Object, ...]) -> Object:
    spec = only(objects, "ServiceMonitor", "PodMonitor")["spec"]
    (endpoint,) = spec.get("endpoints") or spec["podMetricsEndpoints"]
    found: Object = endpoint
    return found


@by_overlay
def test_prometheus_scrapes_the_listener_with_credentials(guarded: dict[str, tuple[Object, ...]], name: str) -> None:
    endpoint, port = endpoint_of(guarded[name]), "http-health"
    if name in ALONE:
        (service,) = only(guarded[name], "Service")["spec"]["ports"]
        assert service["name"] == port
        port = service["targetPort"]
    assert ports(guarded[name])[port] == 4585
    assert endpoint["port"] == "http-health"
    assert (endpoint["scheme"], endpoint["interval"]) == ("https", "15s")
    secrets = [*endpoint["basicAuth"].values(), endpoint["tlsConfig"]["ca"]["secret"]]
    assert {secret["name"] for secret in secrets} == {"health-exporter-scrape"}


def test_the_operator_accepts_the_monitors(guarded: dict[str, tuple[Object, ...]], models: Path) -> None:  # noqa: F811
    monitors = [
        object_ for objects in guarded.values() for object_ in objects if object_["apiVersion"].startswith(CUSTOM)
    ]
    assert len(monitors) == len(OVERLAYS)
    assert find_errors(models, monitors) == [None] * len(monitors)


def test_the_sidecars_differ_only_where_they_did_before(guarded: dict[str, tuple[Object, ...]]) -> None:
    native, plain = exporter_of(guarded["native-sidecar"]), exporter_of(guarded["sidecar"])
    assert {key for key in native if native[key] != plain.get(key)} == {"args", "restartPolicy"}
    assert [text for text in native["args"] if text not in plain["args"]] == ["--shutdown-delay=0"]
    assert pod_of(guarded["native-sidecar"])["volumes"] == pod_of(guarded["sidecar"])["volumes"]


def test_a_networkpolicy_still_admits_prometheus(tmp_path: Path) -> None:
    shutil.copytree(K8S, tmp_path / "k8s")
    kustomization = tmp_path / "k8s" / "overlays" / "standalone" / "kustomization.yaml"
    add_components(kustomization, ["networkpolicy", "authentication"])
    objects = build(kustomization.parent)
    (rule,) = of_kind(objects, "NetworkPolicy")[0]["spec"]["ingress"]
    assert [ports(objects)[port["port"]] for port in rule["ports"]] == [4585]


def test_the_readme_creates_every_key_of_the_secret_for_prometheus(guarded: dict[str, tuple[Object, ...]]) -> None:
    for objects in guarded.values():
        endpoint = endpoint_of(objects)
        secrets = [*endpoint["basicAuth"].values(), endpoint["tlsConfig"]["ca"]["secret"]]
        (create,) = re.findall(
            r"^ *kubectl create secret generic health-exporter-scrape .*\\\n.*$", README, re.MULTILINE
        )
        assert {secret["key"] for secret in secrets} == set(re.findall(r"--from-\w+=([\w.]+)=", create))


# The real exporter


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module", params=["standalone", "sidecar"])
def running(
    request: pytest.FixtureRequest,
    guarded: dict[str, tuple[Object, ...]],
    authority: trustme.CA,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Exporter, Object]]:
    """The exporter with the arguments of the manifest, and the page's web.yml; and the monitor's endpoint."""
    objects, folder = guarded[request.param], tmp_path_factory.mktemp("web")
    leaf = authority.issue_cert(endpoint_of(objects)["tlsConfig"]["serverName"])
    leaf.private_key_pem.write_to_path(str(folder / "tls.key"))
    leaf.cert_chain_pems[0].write_to_path(str(folder / "tls.crt"))
    (web,) = (
        code for code in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) if "# web.yml\n" in code
    )
    config = yaml.safe_load(web)
    config["basic_auth_users"] = dict.fromkeys(config["basic_auth_users"], hashed("right"))
    (folder / "web.yml").write_text(yaml.safe_dump(config))
    (folder / "health.yml").write_text("checks: [{name: a, exec: {command: ['true']}, groups: [liveness]}]\n")
    values = {"--config.file": folder / "health.yml", "--web.config.file": folder / "web.yml", "--shutdown-delay": 0}
    names = [text.partition("=")[0] for text in exporter_of(objects)["args"][1:]]
    words = [str(word) for name in names for word in (name, values.get(name, "127.0.0.1:0"))]
    with ended(Exporter(*words)) as exporter:
        yield exporter, endpoint_of(objects)


def scrape(exporter: Exporter, endpoint: Object, authority: trustme.CA, path: str, password: str | None) -> int:
    """Request a path as Prometheus does: by the address, with the monitor's server name."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    parts = urlsplit(exporter.line(r"address=(https://\S+)/").group(1))
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    connection.connect()
    connection.sock = context.wrap_socket(connection.sock, server_hostname=endpoint["tlsConfig"]["serverName"])
    credentials = base64.b64encode(f"prometheus:{password}".encode()).decode()
    with closing(connection):
        connection.request("GET", path, headers={"Authorization": f"Basic {credentials}"} if password else {})
        return connection.getresponse().status


def test_prometheus_needs_the_password(running: tuple[Exporter, Object], authority: trustme.CA) -> None:
    for path in ("/metrics", "/", "/livez", "/-/healthy"):
        statuses = [scrape(*running, authority, path, password) for password in ("right", "wrong", None)]
        assert statuses == [200, 401, 401], path


def test_the_kubelet_needs_none(running: tuple[Exporter, Object]) -> None:
    exporter, _ = running
    url = exporter.line(r"address=(http://\S+)/").group(1)
    assert get(f"{url}/livez").status == 200
    assert get(f"{url}/-/healthy").status == 200
    assert get(f"{url}/metrics").status == 404
