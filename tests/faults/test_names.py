"""Names that do not resolve: a real name server in a network namespace of its own is silent, or returns errors."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import PATIENCE, Process, command, eventually, unavailable

SCRIPT = Path(__file__).with_name("name_server.py")
NAMESPACE = [
    *("--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"),
    *([] if os.geteuid() == 0 else ["--map-root-user"]),
]
PLAIN = "nameserver 127.0.0.53\n"
SEARCH = PLAIN + "search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"


class Island(Process):
    """The exporter, the name server and the web servers in their namespace."""

    def __init__(self, resolv_conf: Path, config: Path, samples: Path) -> None:
        script = [sys.executable, str(SCRIPT), str(resolv_conf), str(config), str(samples)]
        super().__init__([command("unshare"), *NAMESPACE, *script])
        self._samples = samples

    @property
    def samples(self) -> dict[str, float]:
        """The samples of the latest exposition."""
        return json.loads(self._samples.read_text()) if self._samples.exists() else {}

    def end(self) -> None:
        if self._child.poll() is None:
            self._child.kill()  # unshare, and with it everything in the namespace
        super().end()

    def runs(self, check: str) -> float:
        return self.samples.get(f'health_check_runs_total{{check="{check}",kind="httpGet"}}', 0)

    def failures(self, check: str) -> dict[str, float]:
        """The runs of a check that did not pass, by their reasons."""
        pattern = rf'health_check_failures_total{{check="{check}",kind="httpGet",reason="(\w+)"}}'
        found = ((re.fullmatch(pattern, name), value) for name, value in self.samples.items())
        return {match[1]: value for match, value in found if match}


@pytest.fixture
def island(tmp_path: Path) -> Iterator[Callable[..., Island]]:
    """Start the exporter with checks of these host names, by the names of the checks: `island(hosts, resolv_conf)`."""
    trial = [command("unshare"), *NAMESPACE, command("ip"), "link", "set", "lo", "up"]
    tried = subprocess.run(trial, capture_output=True, text=True, timeout=PATIENCE)
    if tried.returncode:
        unavailable(f"no network namespace can be made here: {tried.stderr.strip()}")
    started: list[Island] = []

    def start(hosts: dict[str, str], resolv_conf: str = PLAIN) -> Island:
        (tmp_path / "resolv.conf").write_text(resolv_conf)
        checks = (
            f"  - {{name: {name}, httpGet: {{port: 8080, host: {host}}}, periodSeconds: 1}}\n"
            for name, host in hosts.items()
        )
        (tmp_path / "health.yml").write_text("checks:\n" + "".join(checks))
        started.append(Island(*(tmp_path / name for name in ("resolv.conf", "health.yml", "samples.json"))))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.mark.parametrize(
    ("count", "zones", "resolv_conf"),
    [(12, 1, PLAIN), (50, 1, SEARCH), (120, 40, PLAIN), (120, 40, SEARCH)],
    ids=["few", "many with a search list", "in many zones", "in many zones with a search list"],
)
def test_a_dead_zone_fails_only_its_own_checks(island, count, zones, resolv_conf):
    """The C library waits 10 s for a name of the dead zones, and 40 s with a search list."""
    evil = {f"evil{number}": f"n{number}.evil{number % zones}.test" for number in range(count)}
    exporter = island({"good": "good.example.test", "address": "127.0.0.1", **evil}, resolv_conf)

    eventually(lambda: min(exporter.runs("good"), exporter.runs("address")) >= 12, what="runs of the healthy checks")
    assert exporter.failures("good") == exporter.failures("address") == {}
    assert exporter.failures("evil0")["dns"] > 5


def test_errors_of_a_name_server_fail_the_check_at_once(island):
    names = ("missing", "servfail", "refused", "empty", "loop")
    exporter = island({"good": "good.example.test", **{name: f"{name}.example.test" for name in names}})

    eventually(lambda: min(map(exporter.runs, names)) >= 3, what="three runs of every check")
    for name in names:
        assert exporter.failures(name) == {"dns": exporter.runs(name)}
        exporter.line(f"check={name} .*status=fail reason=dns summary=.*{name}.example.test was not resolved: ")
    assert exporter.failures("good") == {}
    assert not [line for line in exporter.lines if "in time" in line]


def test_a_name_with_a_dead_address_passes_if_another_one_responds(island):
    names = ("first", "mixed")
    exporter = island({name: f"{name}.example.test" for name in names})

    eventually(lambda: min(map(exporter.runs, names)) >= 3, what="three runs of every check")
    assert exporter.failures("first") == exporter.failures("mixed") == {}


def test_every_run_connects_to_the_address_that_the_name_has_now(island):
    """As the kubelet does: no address is kept, and none is forbidden."""
    exporter = island({"rebind": "rebind.example.test"})

    eventually(lambda: exporter.runs("rebind") >= 4, what="runs of the check")
    assert exporter.failures("rebind") == {}
