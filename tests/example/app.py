"""An application with its own health checks: `gunicorn app:app` in this folder."""

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
    """An exception is a failure; the time that is left goes to where it is kept."""
    connection = sqlite3.connect(FOLDER / "app.db", timeout=max(0.0, deadline.remaining()))
    try:
        connection.execute("SELECT 1")
    finally:
        connection.close()


@health.check(period=1, failure_threshold=1)
def warm() -> bool:
    """True or False."""
    return not (FOLDER / "cold").exists()


@health.check(period=1, groups=(), severity="warning")
def orders() -> Outcome:
    """A number, judged by its limits."""
    waiting = len(list(FOLDER.glob("*.order")))
    return Outcome.measured(f"{waiting} orders wait", Measurement("orders_waiting", waiting, warn=10, fail=100))


@app.get("/")
def index() -> str:
    """The application's own work."""
    return "the shop\n"


@app.get("/process")
def process() -> object:
    """Which worker this is."""
    return jsonify(pid=os.getpid())
