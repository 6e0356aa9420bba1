"""Makes a call that blocks its thread for a second, and prints how often a greenlet ran meanwhile.

`python blocking.py gevent|eventlet path|grpc|many`
"""

import sys

model, call = sys.argv[1:]
if model == "gevent":
    from gevent import monkey

    monkey.patch_all()
else:
    import eventlet

    eventlet.monkey_patch()

import ctypes  # noqa: E402
import socket  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

from exporter.host import reader  # noqa: E402
from exporter.host.greenlets import MAX_THREADS, call_blocking  # noqa: E402
from exporter.kinds.grpc import Grpc  # noqa: E402
from exporter.model import Deadline  # noqa: E402

ticks = 0


def tick() -> None:
    """Count for as long as the process runs."""
    global ticks  # noqa: PLW0603
    while True:
        time.sleep(0.01)
        ticks += 1


def block_path() -> None:
    """Wait for a path whose mount does not respond."""
    try:
        reader.call("/dead", lambda: ctypes.CDLL(None).sleep(30), "block", Deadline(time.monotonic() + 1))
    except TimeoutError as error:
        print("TimeoutError:", error.strerror)


def block_grpc() -> None:
    """Wait for a server that does not respond."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(Grpc(port=server.getsockname()[1]).probe(Deadline(time.monotonic() + 1)).reason)


def block_many() -> None:
    """Make more calls than there are threads, and print how many of them ran at the same time."""
    running: list[int] = []
    most = []

    def block() -> None:
        running.append(1)
        most.append(len(running))
        while max(most) < MAX_THREADS:
            ctypes.CDLL(None).usleep(10_000)
        ctypes.CDLL(None).usleep(300_000)  # in which more of them would run
        running.pop()

    threads = [threading.Thread(target=call_blocking, args=(block,)) for _ in range(MAX_THREADS + 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"most={max(most)} of {MAX_THREADS}")


threading.Thread(target=tick, daemon=True).start()
time.sleep(0.05)
ticks = 0
{"path": block_path, "grpc": block_grpc, "many": block_many}[call]()
print(f"ticks={ticks}", flush=True)
