"""An application with its own health checks. Run `gunicorn app:app` in this folder."""

import os
import sqlite3
from pathlib import Path

from flask import Flask, jsonify

from exporter import Deadline, HealthExporter, Measurement, Outcome

FOLDER = Path(os.environ.get("APP_FOLDER", "."))

app = Flask(__name__)
health = HealthExporter()
app.register_blueprint(health.blueprint(), url_prefix="/health")
health.init_app(app)


@health.check(period=1, groups=("liveness", "readiness"), failure_threshold=1)
def database(deadline: Deadline) -> None:
    """Fails when the query raises an exception. The time until the deadline is the timeout of the connection."""
    connection = sqlite3.connect(FOLDER / "app.db", timeout=max(0.0, deadline.remaining()))
    try:
        connection.execute("SELECT 1")
    finally:
        connection.close()


@health.check(period=1, failure_threshold=1)
def warm() -> bool:
    """Passes when the function returns True."""
    return not (FOLDER / "cold").exists()


@health.check(period=1, groups=(), severity="warning")
def orders() -> Outcome:
    """Compares a number with its thresholds."""
    waiting = len(list(FOLDER.glob("*.order")))
    return Outcome.measured(f"{waiting} orders wait", Measurement("orders_waiting", waiting, warn=10, fail=100))


@app.get("/")
def index() -> str:
    """The application itself."""
    return "the shop\n"


@app.get("/process")
def process() -> object:
    """The process ID of this worker."""
    return jsonify(pid=os.getpid())
