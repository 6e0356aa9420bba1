"""The application under test, which runs in a pod with the exporter's own image: a web server controlled by requests.

    /PATH             returns 200, 500, or 200 after SLOW seconds, depending on the path's mode
    /mode/PATH/MODE   sets a path's mode: healthy, failing, slow
    /after/SECONDS    returns 200 after this number of seconds; the header Delayed counts these requests
    /stop             closes the listening socket; the process keeps running

It listens on PORT after LOAD seconds. On SIGTERM it keeps serving for DRAIN seconds, finishes requests in flight, and
exits with code 0.
"""

import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SLOW, LOAD, DRAIN = (float(os.environ.get(name, default)) for name, default in (("SLOW", 3), ("LOAD", 0), ("DRAIN", 0)))
modes: dict[str, str] = {}
delays: list[float] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        first, *rest = self.path.strip("/").split("/")
        if first == "mode":
            modes[rest[0]] = rest[1]
        elif first == "after":
            delays.append(float(rest[0]))
            time.sleep(delays[-1])
        elif first == "stop":
            threading.Thread(target=stop).start()
        elif modes.get(first) == "slow":
            time.sleep(SLOW)
        self.send_response(500 if modes.get(first) == "failing" else 200)
        self.send_header("Delayed", str(len(delays)))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # its name in the base class
        """Do not log ordinary requests."""


class Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for requests in flight
    request_queue_size = 100


def stop() -> None:
    server.shutdown()
    server.socket.close()


terminated = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: terminated.set())
if not terminated.wait(LOAD):
    server = Server(("", int(os.environ.get("PORT", "8080"))), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    terminated.wait()
    time.sleep(DRAIN)
    server.shutdown()
    server.server_close()
