"""The application under test, run in a pod by the exporter's own image: a web server that does as requests tell it.

    /PATH             by the path's mode: 200, 500, or 200 after SLOW seconds
    /mode/PATH/MODE   sets a path's mode: well, ill, slow
    /after/SECONDS    200 after so many seconds; how many were asked for is in the header Asked of every answer
    /stop             closes the listening socket; the process lives on

It listens on PORT after LOAD seconds. On SIGTERM it serves on for DRAIN seconds, finishes what is under way and exits
with 0.
"""

import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SLOW, LOAD, DRAIN = (float(os.environ.get(name, default)) for name, default in (("SLOW", 3), ("LOAD", 0), ("DRAIN", 0)))
modes: dict[str, str] = {}
asked_for: list[float] = []


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        first, *rest = self.path.strip("/").split("/")
        if first == "mode":
            modes[rest[0]] = rest[1]
        elif first == "after":
            asked_for.append(float(rest[0]))
            time.sleep(asked_for[-1])
        elif first == "stop":
            threading.Thread(target=stop).start()
        elif modes.get(first) == "slow":
            time.sleep(SLOW)
        self.send_response(500 if modes.get(first) == "ill" else 200)
        self.send_header("Asked", str(len(asked_for)))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the name it has in its class
        """Say nothing of ordinary requests."""


class Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for the answers under way
    request_queue_size = 100


def stop() -> None:
    server.shutdown()
    server.socket.close()


asked = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: asked.set())
if not asked.wait(LOAD):
    server = Server(("", int(os.environ.get("PORT", "8080"))), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    asked.wait()
    time.sleep(DRAIN)
    server.shutdown()
    server.server_close()
