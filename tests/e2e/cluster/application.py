"""The application under test, which runs in a pod with the exporter's own image: a web server controlled by requests.

    /PATH             returns 200, 500, or 200 after SLOW seconds, depending on the path's mode
    /mode/PATH/MODE   sets a path's mode: healthy, failing, slow
    /after/SECONDS    returns 200 after this number of seconds; the header Delayed counts these requests
    /stop             closes the listening socket; the process keeps running

It listens on PORT of HOST (all addresses) after LOAD seconds. With CERTIFICATE, a file with a certificate and its key,
it also serves HTTPS on port 8443. With GRPC=1, it also serves a gRPC health service on port 9090, which is not serving
while the mode of the path `grpc` is `failing`. On SIGTERM it keeps serving for DRAIN seconds, finishes requests in
flight, and exits with code 0.
"""

import os
import signal
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST, CERTIFICATE = os.environ.get("HOST", ""), os.environ.get("CERTIFICATE")
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


def serve(port: int, certificate: str | None = None) -> Server:
    server = Server((HOST, port), Handler)
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def serve_grpc() -> object:
    """Serve grpc.health.v1.Health/Check, with the library that the exporter's image may contain.

    The server stops when the returned object is no longer referenced.
    """
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    def check(_request: bytes, _context: object) -> bytes:
        return b"\x08\x02" if modes.get("grpc") == "failing" else b"\x08\x01"  # NOT_SERVING, SERVING

    methods = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    grpc_server = grpc.server(ThreadPoolExecutor(2))
    grpc_server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods),))
    grpc_server.add_insecure_port("0.0.0.0:9090")
    grpc_server.start()
    return grpc_server


def stop() -> None:
    for server in servers:
        server.shutdown()
        server.socket.close()


terminated = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: terminated.set())
if not terminated.wait(LOAD):
    servers = [serve(int(os.environ.get("PORT", "8080")))]
    if CERTIFICATE:
        servers.append(serve(8443, CERTIFICATE))
    grpc_server = serve_grpc() if os.environ.get("GRPC") else None
    terminated.wait()
    time.sleep(DRAIN)
    for server in servers:
        server.shutdown()
        server.server_close()
