"""Manifests of any shape: inject, uninject and convert accept or refuse them, in lines that a terminal can show."""

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.complaint import ConfigError
from exporter.manifests.convert import convert
from exporter.manifests.inject import Settings, inject, uninject

KEYS = (
    *("metadata", "spec", "template", "containers", "initContainers", "volumes", "annotations", "labels", "ports"),
    *(
        "name",
        "containerPort",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "httpGet",
        "tcpSocket",
        "grpc",
        "exec",
    ),
    *("port", "path", "scheme", "host", "httpHeaders", "value", "service", "periodSeconds", "timeoutSeconds", "env"),
    *("health-exporter/original", "configMap", "items", "restartPolicy", "hostNetwork", "ownerReferences"),
)
ODD: list[Any] = [None, 0, -1, 10**50, 0.5, float("inf"), float("nan")]
ODD += ["", "web", "health-exporter", "\x1b[2J\n", "9" * 5000, [], {}, [[]]]
WHOLE = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "web"}},
    "spec": {
        "template": {
            "metadata": {"annotations": {"a": "b"}},
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "ports": [{"name": "http", "containerPort": 8080}],
                        "env": [{"name": "A", "value": "b"}],
                        "livenessProbe": {
                            "httpGet": {"port": "http", "path": "/", "httpHeaders": [{"name": "A", "value": "b"}]},
                            "periodSeconds": 10,
                        },
                        "readinessProbe": {"tcpSocket": {"port": 8080}},
                        "startupProbe": {"exec": {"command": ["true"]}},
                    },
                ],
                "initContainers": [{"name": "migrate", "ports": [{"containerPort": 1}]}],
                "volumes": [{"name": "data", "emptyDir": {}}],
            },
        }
    },
}


def list_places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in list_places(item, (*path, key)))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = put(value[path[0]], path[1:], new)
    return copied


SHAPES = st.recursive(
    st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def broken(draw: st.DrawFn, manifest: Any) -> Any:
    """Manifests with values of a wrong shape in one or two places."""
    for _ in range(draw(st.integers(1, 2))):
        manifest = put(manifest, draw(st.sampled_from(list_places(manifest))), draw(SHAPES))
    return manifest


OWN = (
    "own.yml",
    b"checks: [{name: web, httpGet: {host: $(POD_IP), port: 80}, groups: [liveness, readiness, startup]}]",
)
INJECTED = list(yaml.safe_load_all(inject(yaml.safe_dump(WHOLE).encode(), "x", Settings((), "i", False, OWN)).text))[1]


def test_init_containers_that_are_no_list_stay():
    place = ("spec", "template", "spec", "initContainers")
    restored = uninject(yaml.safe_dump(put(INJECTED, place, "data")).encode(), "x")

    assert yaml.safe_load(restored.text) == put(WHOLE, place, "data")


@given(broken(WHOLE) | broken(INJECTED), st.sampled_from([None, OWN]), st.booleans())
def test_a_manifest_of_any_shape_is_accepted_or_refused(manifest, own, native):
    text = yaml.safe_dump(manifest).encode()
    given_settings = Settings((), "i", native, own)
    for transform in (
        lambda: inject(text, "x", given_settings),
        lambda: uninject(text, "x"),
        lambda: convert(text, "x", (), None, ()),
    ):
        try:
            result = transform()
        except ConfigError as error:
            lines = [str(complaint) for complaint in error.complaints]
        else:
            assert result.text.encode()
            lines = [str(note) for note in result.notes]
        assert all(line.isprintable() for line in lines)
