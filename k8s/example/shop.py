"""An example application: /health returns 200, or 500 after a request to break it.

curl -X POST localhost:8080/break    /health returns 500 until the restart
curl -X POST localhost:8080/hang     /health responds only after a minute, until the restart
curl -X POST localhost:8080/exit     the process exits with code 1
"""

import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

START_SECONDS = float(os.environ.get("START_SECONDS", "0"))
"""How long the application takes to start."""
DRAIN_SECONDS = float(os.environ.get("DRAIN_SECONDS", "5"))
"""How long it keeps serving after SIGTERM, while clients still send requests to this pod."""
condition = "healthy"


class Shop(BaseHTTPRequestHandler):
    """Returns the current condition on GET, and changes it on POST."""

    def do_GET(self) -> None:
        """Respond according to the condition."""
        if condition == "hang" and self.path == "/health":
            time.sleep(60)
        broken = condition == "break" and self.path == "/health"
        self._respond(500 if broken else 200, condition)

    def do_POST(self) -> None:
        """Set the condition to the path."""
        global condition  # noqa: PLW0603
        condition = self.path.strip("/")
        self._respond(200, condition)
        if condition == "exit":
            os._exit(1)

    def log_message(self, *_args: object) -> None:
        """Log nothing: probes would fill the log."""

    def _respond(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(f"{text}\n".encode())


time.sleep(START_SECONDS)
server = ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Shop)
signal.signal(signal.SIGTERM, lambda *_: threading.Timer(DRAIN_SECONDS, server.shutdown).start())
server.serve_forever()
