"""Targets in a Prometheus configuration: the same as Prometheus itself finds."""

import sys
from textwrap import dedent
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from support import Prometheus, ended, eventually

from exporter.config.document import Document
from exporter.manifests.scrapes import Target, find_targets
from exporter.probe.expect import compile_pattern

CONFIGURATIONS = {
    "usual": """
        scrape_configs:
          - job_name: other
            static_configs: [{targets: ["localhost:9100"]}]
          - job_name: blackbox
            metrics_path: /probe
            params: {module: [http_2xx]}
            static_configs:
              - targets: ["http://shop.example/a?b=c", shop.example]
            relabel_configs:
              - {source_labels: [__address__], target_label: __param_target}
              - {source_labels: [__param_target], target_label: instance}
              - {target_label: __address__, replacement: "127.0.0.1:9115"}
        """,
    "timing": """
        global: {scrape_interval: 45s, scrape_timeout: 4s}
        scrape_configs:
          - job_name: a
            scrape_interval: 2m
            params: {module: [m], target: ["http://a/"]}
            static_configs: [{targets: ["127.0.0.1:9115"]}]
          - job_name: b
            scrape_timeout: 20s
            params: {module: [m], target: ["http://b/"]}
            static_configs: [{targets: ["127.0.0.1:9115"]}]
        """,
    "short_interval": """
        scrape_configs:
          - job_name: a
            scrape_interval: 5s
            params: {module: [m], target: ["http://a/"]}
            static_configs: [{targets: ["127.0.0.1:9115"]}]
        """,
    "labels_and_rules": """
        scrape_configs:
          - job_name: a
            metrics_path: /probe
            static_configs:
              - targets: ["a;http_2xx", "b;TCP_CONNECT", "c;skipped"]
              - targets: ["d;x"]
                labels: {__param_hostname: shop.example, team: shop}
            relabel_configs:
              - {source_labels: [__address__], regex: "(.*);.*", target_label: __param_target, replacement: "https://${1}/$$"}
              - {source_labels: [__address__], regex: ".*;(.*)", target_label: module}
              - {source_labels: [module], action: lowercase, target_label: __param_module}
              - {source_labels: [module], regex: skip.+, action: drop}
              - {source_labels: [job, module], separator: "-", regex: "a-.*", action: keep}
              - {regex: module, action: labeldrop}
              - {target_label: __address__, replacement: "127.0.0.1:9115"}
        """,
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_targets_are_those_that_prometheus_finds(name, tmp_path):
    path = tmp_path / "prometheus.yml"
    path.write_text(dedent(CONFIGURATIONS[name]))
    found, _ = find_targets(Document.read(path))
    jobs = {job["job_name"] for job in yaml.safe_load(path.read_text())["scrape_configs"]}
    with ended(Prometheus(path)) as prometheus:
        active = eventually(lambda: find_active(prometheus, jobs), what="Prometheus has targets of every job")

    expected = set()
    for target in active:
        parameters = {key: values[0] for key, values in parse_qs(urlsplit(target["scrapeUrl"]).query).items()}
        if "target" in parameters:
            times = (seconds(target[key]) for key in ("scrapeInterval", "scrapeTimeout"))
            expected.add((parameters["module"], parameters["target"], parameters.get("hostname", ""), *times))
    assert expected == {(made.module, made.address, made.hostname, made.interval, made.timeout) for made in found}


def find_active(prometheus, jobs):
    """The active targets, once each job has some: Prometheus finds those of one job after those of another."""
    active = prometheus.api("targets")["activeTargets"]
    return active if {target["scrapePool"] for target in active} == jobs else []


def seconds(text):
    minutes, _, rest = text.rpartition("m")
    return 60 * int(minutes or 0) + int(rest.removesuffix("s") or 0)


def find(text):
    found, notes = find_targets(Document.parse(dedent(text).encode(), "prometheus.yml"))
    return found, [str(note) for note in notes]


def test_targets_of_service_discovery_are_noted():
    found, notes = find(
        """
        scrape_configs:
          - params: {module: [m]}
            kubernetes_sd_configs: [{role: ingress}]
            file_sd_configs: [{files: [a.yml]}]
        """
    )

    assert found == []
    message = "left out: the targets of kubernetes_sd_configs, file_sd_configs; give them as [MODULE=]TARGET"
    assert notes == [f"prometheus.yml:3: scrape_configs[0]: {message}"]


def test_labels_and_unknown_rules_are_noted():
    found, notes = find(
        """
        scrape_configs:
          - params: {module: [m], target: [a]}
            static_configs: [{targets: [x], labels: {team: shop, instance: a}}]
            relabel_configs:
              - {action: hashmod, source_labels: [__address__], target_label: __tmp, modulus: 2}
              - {source_labels: [__address__], regex: "(", target_label: __tmp}
        """
    )

    assert found == [Target("m", "a", 60, 10)]
    assert [note.partition("left out: ")[2] for note in notes] == [
        "a rule of relabel_configs with the action hashmod",
        "a rule of relabel_configs: missing ): (",
        "the labels team; add them in Prometheus",
    ]


@pytest.mark.parametrize(
    "text", ["scrape_configs: 1", "scrape_configs: [1]", "{}", "scrape_configs: [{params: 1}]", "[]"]
)
def test_an_unusual_document_has_no_targets(text):
    assert find(text) == ([], [])


def test_scrape_config_files_are_noted():
    assert find("scrape_config_files: [a.yml]")[1][0].endswith("give the targets of these files as [MODULE=]TARGET")


def relabel(rules):
    return find(
        f"""
        scrape_configs:
          - params: {{module: [m], target: [{"a" * 40}]}}
            static_configs: [{{targets: [x]}}]
            relabel_configs: [{rules}]
        """
    )


def test_only_a_pattern_of_the_file_requires_the_extra(monkeypatch):
    compile_pattern.cache_clear()
    monkeypatch.setitem(sys.modules, "re2", None)
    found, notes = relabel(
        "{source_labels: [__param_target], target_label: __param_module}, {regex: b.*, action: keep}"
    )

    assert [target.module for target in found] == ["a" * 40]
    assert "requires the extra expect" in notes[0]


def test_a_regular_expression_takes_no_longer_than_its_text():
    found, notes = relabel('{source_labels: [__param_target], regex: "(a+)+b", target_label: __param_module}')

    assert ([target.module for target in found], notes) == (["m"], [])


@pytest.mark.parametrize(
    "rules",
    [
        ", ".join(['{source_labels: [__param_target], target_label: __param_target, replacement: "$1$1"}'] * 40),
        f'{{source_labels: [__param_target], target_label: a, replacement: "{"$1" * 1640}"}}',
        f"{{source_labels: [{', '.join(['__param_target'] * 1640)}], target_label: a}}",
    ],
    ids=["rules", "groups", "sources"],
)
def test_a_label_does_not_grow_without_end(rules):
    found, notes = relabel(rules)

    assert all(len(target.address) <= 64 * 1024 for target in found)
    assert [note.partition(": left out: ")[2] for note in notes] == [
        "a rule of relabel_configs: a label has more than 65536 characters"
    ]


@pytest.mark.parametrize("group", ["${" + "1" * 5000 + "}", "${²}", "${other}"])
def test_a_group_that_does_not_exist_is_empty(group):
    found, notes = relabel(
        f'{{source_labels: [__param_target], target_label: __param_module, replacement: "b{group}"}}'
    )

    assert ([target.module for target in found], notes) == (["b"], [])
