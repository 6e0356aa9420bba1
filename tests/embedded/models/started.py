"""The application, whose checks have run in the process that loads it, before the server forks its workers."""

import time

from app import app, health

__all__ = ["app"]

health.start()
until = time.monotonic() + 60
while app.test_client().get("/health/healthz").status_code != 200 and time.monotonic() < until:
    time.sleep(0.05)
print("all checks have passed", flush=True)
