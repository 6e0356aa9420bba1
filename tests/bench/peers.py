"""The processes of the benchmark (the target, the peers, the exporter with many checks), and its meters."""

import http.client
import os
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import trustme

from tests.support import Exporter, Process, accepts, command, configure_nginx, ended, eventually, free_port, get

KUBELET = {"User-Agent": "kube-probe/1.36", "Accept": "*/*", "Connection": "close"}
PROMETHEUS = {
    "Accept": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
}
WARM = 2.0  # seconds of runs before anything is measured: all checks have run, and more than once
LIBRARIES = "import flask, prometheus_client, psutil, requests"

_NGINX = """
    server {{
        listen 127.0.0.1:{port} backlog=4096{tls};
        location = / {{ return 200 "well\\n"; }}
        location = /api/v1/query {{ return 200 '{sample}'; }}
    }}
"""
_SAMPLE = '{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}'
_BLACKBOX = """
modules:
  http_2xx:
    prober: http
    timeout: 5s
    http: {preferred_ip_protocol: ip4}
"""


def family(pid: int) -> list[int]:
    """A process and all that come from it, such as the exporter's keeper, worker, and readers of paths."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def cpu(pid: int) -> float:
    """CPU seconds that a process and all that came from it have used, those included that have ended."""
    spent = 0.0
    for member in family(pid):
        with suppress(OSError):
            spent += _cpu_of_threads(member) + _cpu_of_ended_children(member)
    return spent


def _cpu_of_threads(pid: int) -> float:
    """From the CPU-time clock of the process, whose number is derived as in clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def _cpu_of_ended_children(pid: int) -> float:
    """Exact to hundredths of a second: cutime and cstime of proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """MiB of a process and its children that are in memory; what they share counts once."""
    largest = max(family(pid), key=lambda member: rollup(member, "Rss"))
    return rollup(largest, "Rss") + private_of_all(pid) - private(largest)


def forget_peaks(pid: int) -> None:
    """Begin a new `peak` of a process and all that came from it: clear_refs of proc(5)."""
    for member in family(pid):
        Path(f"/proc/{member}/clear_refs").write_text("5")


def peak(pid: int) -> float:
    """MiB of `resident`, at the moment when the largest process had the most."""
    largest = max(family(pid), key=lambda member: rollup(member, "Rss"))
    status = Path(f"/proc/{largest}/status").read_text()
    highest = int(status.split("\nVmHWM:")[1].split()[0]) / 1024
    return highest + private_of_all(pid) - private(largest)


def private(pid: int) -> float:
    """MiB that only this process uses and has written to."""
    return rollup(pid, "Private_Dirty")


def private_of_all(pid: int) -> float:
    """MiB that a process and its children do not share with others, and have written to."""
    return sum(private(member) for member in family(pid))


def rollup(pid: int, kind: str) -> float:
    """MiB of one kind of a process's memory."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.split(f"\n{kind}:")[1].split()[0]) / 1024


def cpu_of_run(arguments: list[str]) -> float:
    """CPU seconds of one run of a program, from its start to its end."""
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, f"{arguments} exited with {child.returncode}"
    return usage.ru_utime + usage.ru_stime


def cpu_of_spawn(arguments: list[str], times: int, pause: float) -> float:
    """CPU seconds of one run of a program that posix_spawnp starts, its own and those of starting it."""
    usages = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    spent = 0.0
    for _ in range(times):
        before = [resource.getrusage(who) for who in usages]
        os.waitpid(os.posix_spawnp(arguments[0], arguments, os.environ), 0)
        after = [resource.getrusage(who) for who in usages]
        spent += sum(each.ru_utime + each.ru_stime for each in after)
        spent -= sum(each.ru_utime + each.ru_stime for each in before)
        time.sleep(pause)
    return spent / times


@contextmanager
def target() -> Iterator[str]:
    """The URL of a page that nginx serves."""
    with tempfile.TemporaryDirectory() as folder, _nginx(folder) as port:
        url = f"http://127.0.0.1:{port}/"
        eventually(lambda: answers(url), what="nginx answers")
        yield url


@contextmanager
def tls_target() -> Iterator[tuple[int, str]]:
    """The port of nginx with TLS, which also responds to queries like Prometheus, and the file of its authority."""
    with tempfile.TemporaryDirectory() as folder:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(f"{folder}/ca.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(f"{folder}/server.pem")
        files = f"ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.pem"
        with _nginx(folder, f" ssl; {files}") as port:
            eventually(lambda: accepts(port), what="nginx accepts connections")
            yield port, f"{folder}/ca.pem"


@contextmanager
def _nginx(folder: str, tls: str = "") -> Iterator[int]:
    port = free_port()
    (Path(folder) / "nginx.conf").write_text(configure_nginx(_NGINX.format(port=port, tls=tls, sample=_SAMPLE)))
    program = [command("nginx"), "-p", folder, "-c", "nginx.conf", "-e", "stderr"]
    with ended(Process(program, cwd=Path(folder))):
        yield port


class Peer(Process):
    """Another exporter on a free port, which is scraped over one persistent connection, as by Prometheus."""

    def __init__(self, program: str, *arguments: str, port: int, ready: str = "/-/healthy") -> None:
        self.port = port
        super().__init__([program, *arguments, f"--web.listen-address=127.0.0.1:{port}"])
        eventually(lambda: answers(f"http://127.0.0.1:{port}{ready}"), what=f"{program} answers")

    def scrape(self, path: str, times: int, pause: float = 0.0) -> float:
        """CPU seconds of one of this many scrapes, started `pause` seconds apart."""
        with keep_alive(self.port) as connection:
            before, due = cpu(self.pid), time.monotonic()
            for _ in range(times):
                body = fetch(connection, path, {})
                assert "/probe" not in path or b"\nprobe_success 1\n" in body
                due += pause
                time.sleep(max(0.0, due - time.monotonic()))
            return (cpu(self.pid) - before) / times


def probe(url: str) -> str:
    """The path at which blackbox_exporter probes a page."""
    return f"/probe?module=http_2xx&target={url}"


@contextmanager
def blackbox(program: str = "prometheus-blackbox-exporter") -> Iterator[Peer]:
    """Debian's blackbox_exporter, or another one."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "blackbox.yml"
        config.write_text(_BLACKBOX)
        with ended(Peer(command(program), f"--config.file={config}", port=free_port())) as process:
            yield process


@contextmanager
def node_exporter() -> Iterator[Peer]:
    """node_exporter with nothing but the load average."""
    only = ("--collector.disable-defaults", "--collector.loadavg", "--web.disable-exporter-metrics")
    program = command("prometheus-node-exporter")
    with ended(Peer(program, *only, port=free_port(), ready="/metrics")) as process:
        yield process


class Gatus(Process):
    """Gatus with so many checks of a page, each of them once a second."""

    def __init__(self, folder: str, url: str, count: int) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        check = f"url: '{url}', interval: 1s, conditions: ['[STATUS] == 200']"
        endpoints = "".join(f"\n  - {{name: check-{number}, {check}}}" for number in range(count))
        config = Path(folder) / "gatus.yml"
        web = f"{{address: 127.0.0.1, port: {self.url.rpartition(':')[2]}}}"
        config.write_text(f"metrics: true\ndisable-monitoring-lock: true\nweb: {web}\nendpoints:{endpoints}\n")
        super().__init__([optional("gatus")], env={"GATUS_CONFIG_PATH": str(config)})
        eventually(lambda: answers(f"{self.url}/health"), what="Gatus answers")

    def runs(self) -> float:
        """How many checks have passed."""
        lines = get(f"{self.url}/metrics").text.splitlines()
        passed = (line for line in lines if line.startswith("gatus_results_total{") and 'success="true"' in line)
        return sum(float(line.rpartition(" ")[2]) for line in passed)


@contextmanager
def gatus(url: str, count: int) -> Iterator[Gatus]:
    with tempfile.TemporaryDirectory() as folder, ended(Gatus(folder, url, count)) as process:
        yield process


def optional(program: str) -> str:
    """The path of a program that neither Debian nor CI has, or a skip."""
    return shutil.which(program) or pytest.skip(f"{program} is missing")


@contextmanager
def serving(*checks: str, address: str) -> Iterator[Exporter]:
    """The exporter with these checks, at this address as soon as it listens."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "health.yml"
        config.write_text("checks:" + "".join(f"\n  - {check}" for check in checks) + (" []" if not checks else "\n"))
        with ended(Exporter("--web.listen-address", address, config=config)) as process:
            yield process


@contextmanager
def exporter(*checks: str, cores: set[int] | None = None) -> Iterator[Exporter]:
    """The exporter with these checks, when its worker listens; only on these cores, if given."""
    with serving(*checks, address="127.0.0.1:0") as process:
        if cores:
            os.sched_setaffinity(process.pid, cores)  # a worker that is forked later inherits it
            for member in family(process.pid):
                os.sched_setaffinity(member, cores)  # before its first thread, and each thread inherits it
        assert process.url
        yield process


def http_get(name: str, url: str, *, period: int, groups: str = "") -> str:
    """A check of a page on loopback, as a short line of configuration: 20,000 of them have to fit into a file."""
    more = f", groups: [{groups}]" if groups else ""
    return f"{{name: {name}, httpGet: {{port: {port_of(url)}}}, periodSeconds: {period}{more}}}"


def port_of(url: str) -> int:
    """The port of a URL that has one."""
    return int(urlsplit(url).port or 0)


def samples(process: Exporter, family: str) -> dict[str, float]:
    """The samples of one family, by check if they have one."""
    lines = process.get(f"/metrics?name[]={family}", timeout=60).text.splitlines()
    parted = (line.rpartition(" ") for line in lines if line.startswith(family))
    return {name.partition('check="')[2].partition('"')[0]: float(value) for name, _, value in parted}


def wait_for_runs(process: Exporter) -> None:
    """Wait until all checks have run, at little cost: an exposition of 20,000 checks takes CPU seconds from them."""
    eventually(lambda: answers(f"{process.url}/readyz"), within=300, what="all checks have passed")


@contextmanager
def keep_alive(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        yield connection
    finally:
        connection.close()


def fetch(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> bytes:
    """One page over a connection that stays open."""
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, f"{path} answered {answer.status}: {body!r:.200}"
    return body


@contextmanager
def silent(count: int) -> Iterator[list[str]]:
    """The URLs of this many sockets that listen and never respond."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024)) for _ in range(count)]
        yield [f"http://127.0.0.1:{server.getsockname()[1]}/" for server in servers]


def answers(url: str) -> bool:
    """Whether a URL returns 200."""
    try:
        return get(url, timeout=2).status == 200
    except OSError:
        return False
