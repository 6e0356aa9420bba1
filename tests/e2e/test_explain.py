"""The story of a real exporter, with a web server that is stopped and one that is slow."""

import http.server
import re
import signal
import threading

import commands
import pytest
from support import PATIENCE, eventually

CONFIG = """
checks:
  - name: web
    httpGet: {{path: /health, port: {web}}}
    periodSeconds: 1
    failureThreshold: 2
    groups: [liveness, readiness]
  - name: api
    httpGet: {{port: {api}}}
    periodSeconds: 1
    failureThreshold: 2
"""


@pytest.fixture
def slow():
    """A server that responds at once, or only when `calm` is set again."""
    calm = threading.Event()
    calm.set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            calm.wait(PATIENCE)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.calm, server.port = calm, server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        calm.set()
        server.shutdown()


def test_the_story_of_a_server_that_is_stopped_and_of_a_slow_one(start, nginx, slow, tmp_path):
    history = tmp_path / "history.jsonl"
    exporter = start(CONFIG.format(web=nginx.port, api=slow.port), "--history.file", str(history))

    def probe(path, expected):
        """Ask as the kubelet does, until it gets this status."""
        headers = {"User-Agent": "kube-probe/1.31"}
        eventually(lambda: exporter.get(path, headers=headers).status == expected, what=f"{path} is {expected}")

    eventually(lambda: exporter.get("/readyz").status == 200)
    nginx.stop()
    probe("/livez", 503)
    nginx.start()
    probe("/livez", 200)
    slow.calm.clear()
    probe("/readyz", 503)
    assert exporter.get("/livez").status == 200
    slow.calm.set()
    probe("/readyz", 200)
    running = commands.run("explain", "--url", exporter.url, "--since", "1d")
    exporter.signal(signal.SIGTERM)
    exporter.wait()
    recorded = commands.run("explain", "--history.file", history, "--since", "1d")
    story = re.sub(r"\n {3,}", " ", running.stdout)

    assert (running.returncode, running.stderr) == (recorded.returncode, recorded.stderr) == (0, "")
    times = r"(once|\d+ times until [\d:]{8}), and 200 again at [\d:]{8}\.\n"
    refused, late = rf"127\.0\.0\.1:{nginx.port}: Connection refused\.", r"\S+: no complete response in time\."
    two = r"2 runs in a row had failed since [\d:]{8} \(failureThreshold 2\)\."
    for pattern in (
        rf"  web failed \(connect\): {refused} {two} As a result, liveness and readiness failed\.\n",
        rf"  The kubelet received 503 from /livez because of web \(connect\): {times}",
        r"  web passed again after [^.]+\. \d+ runs failed in total\.\n",
        rf"  api failed \(timeout\): {late} {two} As a result, readiness failed\.\n",
        rf"  The kubelet received 503 from /readyz because of api \(timeout\): {times}",
        r"2 checks, all pass\.\n",
    ):
        assert re.search(pattern, story), story
    assert set(running.stdout.split("\n\n")[1:-1]) <= set(recorded.stdout.split("\n\n"))
    assert "The exporter began to shut down. As a result, readiness failed.\n" in recorded.stdout
