"""A stand-in for an application: /health answers 200, and 500 after somebody has asked it to break.

curl -X POST localhost:8080/break    until the restart, /health answers 500
curl -X POST localhost:8080/hang     until the restart, /health answers after a minute
curl -X POST localhost:8080/exit     the process ends with exit code 1
"""

import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

START_SECONDS = float(os.environ.get("START_SECONDS", "0"))
"""How long the application takes to start."""
DRAIN_SECONDS = float(os.environ.get("DRAIN_SECONDS", "5"))
"""How long it serves on after SIGTERM, for those who have not heard yet that it goes."""
condition = "well"


class Shop(BaseHTTPRequestHandler):
    """Answers GET with its condition, and takes orders by POST."""

    def do_GET(self) -> None:
        """Answer as the condition demands."""
        if condition == "hang" and self.path == "/health":
            time.sleep(60)
        broken = condition == "break" and self.path == "/health"
        self._answer(500 if broken else 200, condition)

    def do_POST(self) -> None:
        """Change the condition."""
        global condition  # noqa: PLW0603
        condition = self.path.strip("/")
        self._answer(200, condition)
        if condition == "exit":
            os._exit(1)

    def log_message(self, *_args: object) -> None:
        """Write nothing: probes would fill the log."""

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(f"{text}\n".encode())


time.sleep(START_SECONDS)
server = ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Shop)
signal.signal(signal.SIGTERM, lambda *_: threading.Timer(DRAIN_SECONDS, server.shutdown).start())
server.serve_forever()
