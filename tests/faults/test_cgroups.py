"""The exporter has little CPU time, little memory or few processes."""

import json
import re
import subprocess
import sys
from contextlib import ExitStack, suppress

from faults.cgroups import cgroup
from faults.prober import probing
from faults.samples import sample
from faults.usage import measure_memory
from faults.webs import webs
from support import PATIENCE, Answer, Exporter, ended, eventually, free_port, get

MIB = 2**20
BOMB = "bomb() { (bomb) & (bomb) & exec sleep 3600; }; bomb"  # each process starts two others


def test_a_fork_bomb_fails_its_own_check_and_no_probe(start):
    with cgroup(pids=100) as limited:
        exporter = start(
            f"""
            checks:
              - {{name: ok, exec: {{command: ["true"]}}, periodSeconds: 1, failureThreshold: 1, groups: [liveness]}}
              - name: bomb
                exec: {{command: [sh, -c, {json.dumps(BOMB)}]}}
                periodSeconds: 3600
                timeoutSeconds: 3
                failureThreshold: 1
            """,
            prefix=limited.prefix,
        )
        with probing(f"{exporter.url}/livez") as prober:
            eventually(lambda: len(limited.processes()) > 30, what="the bomb explodes")
            prober.wait_for_answers()
            exporter.line("check bomb: unknown -> fail.* reason=timeout")
            eventually(lambda: len(limited.processes()) < 10, what="the bomb is killed")
            ran = exporter.metrics()[sample("last_run_timestamp_seconds", "ok", "exec")]
            eventually(
                lambda: (
                    exporter.metrics()[sample("last_run_timestamp_seconds", "ok", "exec")] > ran
                    and exporter.metrics()[sample("last_up", "ok", "exec")]
                )
            )
            assert exporter.metrics()[sample("up", "ok", "exec")] == 1


def test_without_cpu_time_checks_are_late_and_liveness_never_fails(start):
    """The process gets 5 % of one CPU. What it does not know is not a failure, and results come late instead."""
    with webs(("127.0.0.1", 0)) as servers, cgroup(cpu=1) as limited:
        web = f"httpGet: {{port: {servers.ports[0]}}}, periodSeconds: 1, timeoutSeconds: 2, groups: [liveness, startup]"
        checks = ", ".join(f"{{name: web{number}, {web}}}" for number in range(200))
        exporter = start(f"checks: [{checks}]", prefix=limited.prefix)
        eventually(lambda: exporter.get("/startupz").status == 200, what="every check has passed")
        limited.limit(cpu=0.05)
        with probing(f"{exporter.url}/livez") as prober:
            throttled = limited.count("cpu", "cpu.stat", "nr_throttled")
            eventually(lambda: limited.count("cpu", "cpu.stat", "nr_throttled") >= throttled + 30)
            prober.wait_for_answers()
            metrics = exporter.metrics()
        limited.limit(cpu=None)

        assert metrics["health_exporter_scheduler_lag_seconds"] > 0
        assert all(metrics.get(sample("status", f"web{number}", status="fail"), 0) == 0 for number in range(200))
        eventually(lambda: exporter.get("/startupz").status == 200, what="it recovers")


def test_a_start_without_cpu_time_is_alive_from_the_first_answer(start):
    """Reading the libraries takes seconds then."""
    with cgroup(cpu=0.15) as limited:
        exporter = start(
            "checks: [{name: no, exec: {command: ['false']}, periodSeconds: 1, failureThreshold: 1}]",
            prefix=limited.prefix,
        )
        url = exporter.url
        with probing(f"{url}/livez") as prober:
            assert get(f"{url}/readyz").status == 503
            prober.wait_for_answers()


def test_with_2_percent_of_a_cpu_it_is_alive_long_before_it_has_loaded(tmp_path):
    """Generation 0 is the keeper's, which answers until the libraries are loaded: with so little, half a minute."""
    (tmp_path / "health.yml").write_text("checks: [{name: yes, exec: {command: ['true']}, periodSeconds: 1}]\n")
    url = f"http://127.0.0.1:{free_port()}"

    def ask(path: str) -> Answer | None:
        with suppress(ConnectionError):
            return get(url + path)
        return None

    with cgroup(cpu=0.02) as limited:
        listen = ("--web.listen-address", url.removeprefix("http://"))
        with ended(Exporter(*listen, config=tmp_path / "health.yml", prefix=limited.prefix)) as exporter:
            first = eventually(lambda: ask("/livez"))
            ready = ask("/readyz")
            limited.limit(cpu=None)
            eventually(lambda: ask("/readyz").status == 200)
            exporter.line("msg=listening")

    assert (first.status, first.generation) == (200, 0)
    assert ready.status == 503


def test_500_checks_fit_into_64_mib(start):
    with webs(*[("127.0.0.1", 0)] * 50) as servers, cgroup(memory=64 * MIB) as limited:
        checks = ", ".join(
            f"{{name: web{number}, httpGet: {{port: {servers.ports[number % 50]}}}, periodSeconds: 5}}"
            for number in range(500)
        )
        exporter = start(f"checks: [{checks}]", prefix=limited.prefix)
        eventually(lambda: exporter.get("/readyz").status == 200, what="every check has passed")
        for _ in range(20):
            assert exporter.get("/metrics").status == 200
            assert exporter.get("/").status == 200
        runs = sample("runs_total", "web499")
        eventually(lambda: exporter.metrics()[runs] >= 2)

        assert measure_memory(exporter) < 0.8 * 64 * MIB
        assert limited.anonymous_memory() < 0.8 * 64 * MIB


BALLAST = "import sys, time; ballast = b'x' * 48 * 2**20; print(flush=True); time.sleep(600)"


def test_a_full_cgroup_around_the_container_fails_though_the_container_is_far_from_its_limit(tmp_path):
    """The kernel kills a process in the container when the outer limit is reached, such as that of a systemd slice."""
    (tmp_path / "health.yml").write_text("checks: [{name: own, memory: {scope: container, failRatio: 0.4}}]")
    check = [sys.executable, "-m", "exporter", "check", "--config.file", str(tmp_path / "health.yml")]
    with cgroup(memory=128 * MIB) as outer, ExitStack() as cleanup:
        inner = cleanup.enter_context(outer.nested("inner", 1024 * MIB))
        beside = cleanup.enter_context(outer.nested("beside", 1024 * MIB))
        ballast = cleanup.enter_context(
            subprocess.Popen([*beside, sys.executable, "-c", BALLAST], stdout=subprocess.PIPE, text=True)
        )
        cleanup.callback(ballast.kill)
        ballast.stdout.readline()
        done = subprocess.run([*inner, *check], capture_output=True, text=True, timeout=PATIENCE)

    assert done.returncode == 1, done.stdout + done.stderr
    name = outer.folders["memory"].name
    assert re.search(
        rf"the cgroup /\S*{name} above the container: [\d.]+ % of 128 MiB of memory is in use", done.stdout
    )
