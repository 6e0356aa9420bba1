"""Clients that storm an exporter: `python storm.py loop|abandon URL SECONDS`."""

import http.client
import socket
import sys
import threading
import time
from contextlib import suppress
from urllib.parse import urlsplit

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
SCRAPERS = 200
ABANDONED = 4000


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=30)


def scrape_in_a_loop(url: str, until: float) -> None:
    while time.monotonic() < until:
        with suppress(OSError, http.client.HTTPException), connect(url) as client:
            client.sendall(REQUEST)
            while client.recv(65536):
                pass


def main() -> None:
    storm, url, seconds = sys.argv[1:]
    if storm == "abandon":
        for _ in range(ABANDONED):
            with suppress(OSError), connect(url) as client:
                client.sendall(REQUEST)
        return
    until = time.monotonic() + float(seconds)
    scrapers = [threading.Thread(target=scrape_in_a_loop, args=(url, until)) for _ in range(SCRAPERS)]
    for scraper in scrapers:
        scraper.start()
    for scraper in scrapers:
        scraper.join()


if __name__ == "__main__":
    main()
