"""A stage for alerting: an exporter, Prometheus with the shipped rules, Alertmanager with the example, a receiver.

The rules wait for minutes. `speed_up` divides every duration in a copy by FACTOR: `for`, `keep_firing_for` and ranges
in the rules, the waiting times in the configuration of Alertmanager, and the intervals in that of Prometheus.
Everything else is as shipped: the rule files, alertmanager.example.yml, and the prometheus.yml of alerts/README.md.
"""

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

from support import Exporter, Process, Prometheus, command, ended, eventually, free_port, get

FACTOR = 60  # a minute of the rules takes a second
ALERTS = Path(__file__).resolve().parents[2] / "alerts"
MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
DURATION = r"(?:\d+(?:ms|[smhdw]))+"
WAITS = re.compile(
    rf"(?:\b(?:for|keep_firing_for|interval|\w+_(?:interval|wait|timeout)): |offset ){DURATION}\b"
    rf"|\[{DURATION}(?::{DURATION})?\]"
)
CONFIG = """
checks:
  - name: api
    httpGet: {{path: /health, port: {port}}}
    periodSeconds: 1
    failureThreshold: 2
    groups: [liveness, readiness]
"""


def speed_up(text):
    """Divide every wait and every range in the text by FACTOR."""

    def divide(duration):
        parts = re.findall(r"(\d+)(ms|[smhdw])", duration[0])
        return f"{sum(int(number) * MILLISECONDS[unit] for number, unit in parts) // FACTOR}ms"

    return WAITS.sub(lambda wait: re.sub(DURATION, divide, wait[0]), text)


class Receiver(ThreadingHTTPServer):
    """A server that collects the messages of Alertmanager as a list of (path, message)."""

    daemon_threads = True

    def __init__(self):
        self.messages = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def alerts(self, status, **labels):
        """Return the alerts with this status and these labels from all messages, as often as they were sent."""
        return [
            alert
            for _, message in list(self.messages)
            for alert in message["alerts"]
            if alert["status"] == status and labels.items() <= alert["labels"].items()
        ]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.messages.append((self.path, json.loads(body)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Log nothing: the test reports the messages."""


@contextmanager
def run_receiver():
    """Run a receiver within the block."""
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


def is_ready(url):
    """Report whether a program of the Prometheus family is ready."""
    try:
        return get(f"{url}/-/ready", timeout=2).status == 200
    except OSError:
        return False


class Alertmanager(Process):
    """Alertmanager with the shipped example, sending to the receiver."""

    def __init__(self, folder, receiver):
        self.url = f"http://127.0.0.1:{free_port()}"
        example = (ALERTS / "alertmanager.example.yml").read_text()
        assert "http://127.0.0.1:9099/" in example
        config = folder / "alertmanager.yml"
        config.write_text(speed_up(example.replace("http://127.0.0.1:9099", receiver.url)))
        super().__init__(
            [
                command("prometheus-alertmanager"),
                f"--config.file={config}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--cluster.listen-address=",
            ]
        )
        eventually(lambda: is_ready(self.url), what="Alertmanager is ready")

    def alerts(self, **labels):
        """Return its current alerts with these labels."""
        alerts = json.loads(get(f"{self.url}/api/v2/alerts").body)
        return [alert for alert in alerts if labels.items() <= alert["labels"].items()]


class Watcher(Prometheus):
    """Prometheus with the prometheus.yml of alerts/README.md and the shipped rules, all sped up."""

    def __init__(self, folder, exporter, alertmanager):
        (folder / "alerts").mkdir()
        for rules in ALERTS.glob("*.rules.yml"):
            (folder / "alerts" / rules.name).write_text(speed_up(rules.read_text()))
        config = re.search(r"```yaml\n# prometheus.yml\n(.*?)```", (ALERTS / "README.md").read_text(), re.DOTALL)[1]
        for shipped, actual in (("localhost:4584", exporter.url), ("localhost:9093", alertmanager.url)):
            assert shipped in config
            config = config.replace(shipped, actual.removeprefix("http://"))
        (folder / "prometheus.yml").write_text(speed_up(config))
        super().__init__(folder / "prometheus.yml")

    def query(self, promql):
        """Return the response, even if it is an error."""
        return json.loads(get(f"{self.url}/api/v1/query?query={quote(promql)}").body)


class Stage:
    """All of them, running, with a healthy check."""

    def __init__(self, stack, folder, nginx):
        self.nginx = nginx
        config = folder / "health.yml"
        config.write_text(CONFIG.format(port=nginx.port))
        self.receiver = stack.enter_context(run_receiver())
        self.exporter = stack.enter_context(ended(Exporter(config=config)))
        self.alertmanager = stack.enter_context(ended(Alertmanager(folder, self.receiver)))
        self.prometheus = stack.enter_context(ended(Watcher(folder, self.exporter, self.alertmanager)))
        eventually(lambda: self.exporter.metrics()['health_check_up{check="api",kind="httpGet"}'] == 1)
