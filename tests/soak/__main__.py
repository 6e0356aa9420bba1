"""`make soak`: hours of misbehaving targets and clients, for figures of growth. It does not fail on any figure.

python -m tests.soak [--duration SECONDS] [--output FOLDER]

It writes soak.csv and soak.svg, and prints what they show. Latencies count only on an otherwise idle machine.
"""

import argparse
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import trustme

from tests.support import free_port

from . import clients
from .checks import SETTLING, Subject, build, change_one, write
from .process_tree import measure
from .report import COLUMNS, Row, describe, p99, write_files
from .tally import Tally

SAMPLE_INTERVAL = 10.0  # seconds
RELOAD_INTERVAL = 60.0  # seconds
VERDICT_INTERVAL = 5.0  # seconds
START_SETTLING = 40.0  # seconds in which all checks settle after the start
WARM_UP = 600.0  # seconds after which memory has to be flat; a quarter of the duration if that is shorter
START_LIMIT = 60.0  # seconds for the first response
LOADED = 'msg="configuration loaded"'
VITALS = tuple(  # of the exporter's metrics, those that are 0 or absent if nothing has gone wrong
    f"health_exporter_{name}" for name in ("workers_stuck ", "worker_restarts_total ", "scheduler_lag_seconds ")
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--duration", type=float, default=7200, metavar="SECONDS")
    parser.add_argument("--output", type=Path, default=Path("docs/soak"), metavar="FOLDER")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        soak = Soak(Path(folder), stack)
        rows = soak.run(options.duration)
        exit_status = soak.stop()
        write_files(options.output, rows)
        print(*describe(rows, soak.tally, soak.started, min(WARM_UP, options.duration / 4)), sep="\n")
        text = soak.log.read_text(errors="replace")
        print(f"reloads: {soak.reloads}, loaded: {text.count(LOADED)}; exit status: {exit_status}")
        print(f"at the end: {soak.vitals}")
        tracebacks = [line for line in text.splitlines() if "Traceback" in line]
        print(f"log: {len(text) / 1e6:.1f} MB, tracebacks: {len(tracebacks)}")
        for line in tracebacks[:1]:
            print(f"  {line}")


class Soak:
    """One soak: the targets, the exporter, and the clients."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._config = folder / "health.yml"
        self.log = folder / "log"
        self.tally = Tally()
        (folder / "soak.pid").write_text(f"{os.getpid()}\n")
        certificate = folder / "server.pem"
        trustme.CA().issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        # Bound, so that no other process listens on it, and closed, because this one does not either.
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        self._subjects = build(stack.enter_context(_targets(certificate)), str(folder), closed.getsockname()[1])
        self._config.write_text(write(self._subjects))
        self._changed = ""
        self.vitals = ""
        self.reloads = 0
        self._port = free_port()
        self._process = stack.enter_context(_exporter(self._config, self._port, self.log))
        self.started = self._changed_at = self._wait_until_serving()
        self._over, self._inputs = stack.enter_context(_clients(self._port))

    def run(self, duration: float) -> list[Row]:
        """Let it run, and return a sample for every interval."""
        rows = []
        due = dict.fromkeys((self._compare_verdicts, self._reload), self.started + RELOAD_INTERVAL)
        due[self._compare_verdicts] = self.started + START_SETTLING
        interval = {self._compare_verdicts: VERDICT_INTERVAL, self._reload: RELOAD_INTERVAL}
        sample = self.started + SAMPLE_INTERVAL
        end = self.started + duration + 1
        while (now := time.time()) < end and self._process.poll() is None:
            self._collect(now > self.started + START_SETTLING)
            for act, at in due.items():
                if now >= at and (act != self._reload or now < end - SETTLING):  # so that the last one is loaded too
                    due[act] = now + interval[act]
                    act()
            if now >= sample:
                sample += SAMPLE_INTERVAL
                rows.append(self._sample(now))
            time.sleep(0.05)
        return rows

    def stop(self) -> int:
        """End the clients and the exporter; returns its exit status."""
        self._over.set()
        time.sleep(SAMPLE_INTERVAL)  # a storm may still be going on
        _, exposition = clients.request(self._port, "/metrics")
        lines = exposition.decode().splitlines()
        self.vitals = " ".join(line.removeprefix("health_exporter_") for line in lines if line.startswith(VITALS))
        self._process.terminate()
        return self._process.wait(60)

    def _wait_until_serving(self) -> float:
        until = time.time() + START_LIMIT
        while clients.request(self._port, "/metrics")[0] != 200:  # /livez is 200 even before the checks run
            if self._process.poll() is not None or time.time() > until:
                sys.exit(f"the exporter does not serve:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)
        return time.time()

    def _collect(self, settled: bool) -> None:
        probes, scrapes, storms = self._inputs
        while probes.poll():
            self.tally.add_probe(*probes.recv(), settled=settled)
        while scrapes.poll():
            self.tally.add_scrape(*scrapes.recv(), settled=settled)
        while storms.poll():
            self.tally.storms.append(storms.recv())

    def _compare_verdicts(self) -> None:
        """Compare the status of every check with the expected ones."""
        before = time.time()
        status, body = clients.request(self._port, "/healthz?format=json")
        if self.tally.is_without_verdict(status, body):
            return
        try:
            shown = {name: states[0]["status"] for name, states in json.loads(body)["checks"].items()}
        except (ValueError, KeyError) as error:
            self.tally.add_wrong(f"/healthz?format=json returned {status}: {error!r}", before)
            return
        for subject in self._subjects:
            changing = subject.name == self._changed and before < self._changed_at + SETTLING
            expected = _expect(subject, before)
            if not changing and shown.get(subject.name) not in expected:
                right = " or ".join(sorted(expected))
                self.tally.add_wrong(f"{subject.name} is {shown.get(subject.name, 'missing')}, not {right}", before)

    def _reload(self) -> None:
        """Change one check. Every other time the file is replaced as a whole, as in a ConfigMap volume."""
        print(f"{time.time() - self.started:.0f} s, wrong verdicts: {self.tally.count_wrong()}", flush=True)
        self.reloads += 1
        self._changed = change_one(self._subjects, self.reloads)
        self._changed_at = time.time()
        new = self._config if self.reloads % 2 else self._config.with_suffix(".new")
        new.write_text(write(self._subjects))
        new.replace(self._config)

    def _sample(self, now: float) -> Row:
        usage = measure(self._process.pid, now)
        livez, readyz = self.tally.recent["/livez"], self.tally.recent["/readyz"]
        values = (
            now - self.started, usage.rss, usage.private_dirty, usage.descriptors, usage.threads, usage.processes,
            usage.children, usage.cpu, len(livez) + len(readyz), 1e3 * p99(livez), 1e3 * max(livez, default=0.0),
            1e3 * max(readyz, default=0.0), self.tally.shed, self.tally.count_wrong(), self.log.stat().st_size,
        )  # fmt: skip
        livez.clear()
        readyz.clear()
        return {name: round(value, 2) for name, value in zip(COLUMNS, values, strict=True)}


def _expect(subject: Subject, before: float) -> frozenset[str]:
    """Return the right statuses of a response; a flapping target may have changed since the request."""
    return subject.expect(before) | subject.expect(time.time())


@contextmanager
def _targets(certificate: Path) -> Iterator[dict[str, int]]:
    arguments = [sys.executable, "-m", "tests.soak.targets", str(certificate)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def _exporter(config: Path, port: int, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    arguments = [sys.executable, "-m", "exporter", "serve", "--config.file", str(config)]
    arguments += ["--web.listen-address", f"127.0.0.1:{port}", "--shutdown-delay", "1"]
    with log.open("wb") as output, subprocess.Popen(arguments, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@contextmanager
def _clients(port: int) -> Iterator[tuple[Event, list[Connection]]]:
    """Start the clients; yields the event that ends them, and the connections on which they report."""
    context = multiprocessing.get_context("spawn")
    over = context.Event()
    inputs: list[Connection] = []
    processes: list[BaseProcess] = []
    for client in (clients.probe, clients.scrape, clients.storm):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=client, args=(port, over, sender), daemon=True)
        process.start()
        sender.close()
        inputs.append(receiver)
        processes.append(process)
    try:
        yield over, inputs
    finally:
        over.set()
        for receiver, process in zip(inputs, processes, strict=True):
            receiver.close()
            process.join(5)
            process.kill()


if __name__ == "__main__":
    main()
