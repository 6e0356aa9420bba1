"""Scrapes from a real Prometheus are those of the exporter, and select one exporter."""

import subprocess
from collections import defaultdict

import pytest
from click.testing import CliRunner
from kinds.servers import flood, hang, serving
from make import in_groups
from replay.simulation import EPOCH, Simulation, Target
from replay.test_exactness import make_spec
from support import Prometheus, command, ended

from exporter.cli.main import cli
from exporter.model import Group, Vitals
from exporter.render.metrics import TEXT, render
from exporter.replay import prometheus
from exporter.replay.recording import ReplayError
from exporter.replay.stretches import Timing

LENGTH = 1200.0
BOTH = in_groups(Group.LIVENESS, Group.READINESS)


@pytest.fixture(scope="module")
def world():
    """A check that is scraped between its runs, and another one with several runs from scrape to scrape."""
    api = Target([(300.0, 340.0), (600.0, 700.0)], blind=[(900.0, 915.0)])
    targets = {"api": api, "db": Target([(403.0, 411.0)])}
    specs = {"api": make_spec("api", BOTH, 20, 3), "db": make_spec("db", in_groups(Group.READINESS), 5, 2)}
    world = Simulation(targets, specs, Timing(10, 4), Timing(6, 2), (0.0, 0.0), LENGTH, scrape_every=18.0)
    return world.run()


@pytest.fixture(scope="module")
def server(world, tmp_path_factory):
    """A Prometheus that has scraped two exporters of this world."""
    folder = tmp_path_factory.mktemp("prometheus")
    lines = defaultdict(list)
    for time, snapshot in world.snapshots:
        for line in render(snapshot, Vitals(running=True), {}, content_type=TEXT).decode().splitlines():
            sample, _, value = line.rpartition(" ")
            if line.startswith("health_check_"):
                for pod in ("web-0", "web-1"):
                    labelled = sample.replace("{", f'{{job="shop",pod="{pod}",', 1)
                    lines[labelled].append(f"{labelled} {value} {time}\n")
    samples = folder / "samples.txt"
    samples.write_text("".join(line for name in sorted(lines) for line in lines[name]) + "# EOF\n")
    create = ["promtool", "tsdb", "create-blocks-from", "openmetrics", samples, folder / "data"]
    subprocess.run([command("promtool"), *create[1:]], check=True, capture_output=True)
    (folder / "prometheus.yml").write_text("{}")
    with ended(Prometheus(folder / "prometheus.yml", "--storage.tsdb.retention.time=100y")) as process:
        yield process.url


def test_the_scrapes_are_those_of_the_exporter(server, world, monkeypatch):
    monkeypatch.setattr(prometheus, "CHUNK", 250)  # several queries, also with a scrape where they meet
    found = prometheus.load(server, 'pod="web-0"', EPOCH + 1000, EPOCH + 1000 + LENGTH)

    assert {check[0].spec.name: check for check in found} == world.scrapes


def test_one_exporter_has_to_be_selected(server):
    with pytest.raises(ReplayError) as caught:
        prometheus.load(server, 'job="shop"', EPOCH, EPOCH + 3000)
    assert str(caught.value).splitlines() == [
        "2 exporters match; select one with --prometheus.match:",
        'job="shop", pod="web-0"',
        'job="shop", pod="web-1"',
    ]


@pytest.mark.parametrize("match", ["pod=", 'pod="web-0"} or {'])
def test_the_error_of_prometheus_is_shown(server, match):
    with pytest.raises(ReplayError, match=f"{server}: bad_data: "):
        prometheus.load(server, match, EPOCH, EPOCH + 3000)


def test_replay_says_which_numbers_are_exact(server):
    times = [
        "--since",
        f"{EPOCH:.0f}",
        "--until",
        f"{EPOCH + 3000:.0f}",
        "--kubelet",
        "livenessProbe.failureThreshold=1",
    ]
    source = ["--prometheus.url", server, "--prometheus.match", 'pod="web-0"']
    done = CliRunner().invoke(cli, ["replay", *source, *times, "--set", "api.failureThreshold=2,3"])

    assert done.exit_code == 0
    assert done.output.splitlines()[:4] == [
        "variant                 restarts  unready          /livez 503  /readyz 503       outages noticed  after",
        "as recorded             1         54.0 to 60.0 s   60.0 s      60.0 to 70.0 s    1 of 2           40.0 s",
        "api.failureThreshold=2  2         84.0 to 102.0 s  100.0 s     100.0 to 110.0 s  2 of 2           20.0 s",
        "api.failureThreshold=3  1         54.0 to 60.0 s   60.0 s      60.0 to 70.0 s    1 of 2           40.0 s",
    ]
    assert "The results of 3 of 292 runs are not known" in done.output
    assert "successThreshold is assumed to be 1" in done.output


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ((b"HTTP/1.1 200 OK\r\n\r\n", flood(b"x" * 4096)), "the response is longer than 10 KiB"),
        ((hang,), "no complete response in time"),
        ((b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",), "status 404, and not a response of Prometheus"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",), "status 200, and not a response of Prometheus"),
    ],
)
def test_a_server_that_does_not_respond_well_is_an_error(monkeypatch, script, message):
    monkeypatch.setattr(prometheus, "MAX_RESPONSE", 10 * 1024)
    monkeypatch.setattr(prometheus, "TIMEOUT", 0.5 if script == (hang,) else 60)
    with serving(script) as target, pytest.raises(ReplayError) as caught:
        prometheus.load(f"http://127.0.0.1:{target.port}", "", EPOCH, EPOCH + 10)
    assert message in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:9090", "prometheus", "ftp://127.0.0.1/"])
def test_a_url_needs_a_scheme(url):
    with pytest.raises(ReplayError, match="the URL of Prometheus must begin with http"):
        prometheus.load(url, "", EPOCH, EPOCH + 10)
