"""An application that runs the checks of `health.yml` in the current folder, and one of its own."""

import logging

from flask import Flask

from exporter import Deadline, HealthExporter

handler = logging.StreamHandler()
handler.setFormatter(logging.Formatter("%(levelname)s %(message)s %(fields)s", defaults={"fields": ""}))
logging.basicConfig(level=logging.DEBUG, handlers=[handler])

app = Flask(__name__)
health = HealthExporter(config="health.yml")
app.register_blueprint(health.blueprint(), url_prefix="/health")
health.init_app(app)


@health.check(name="function", period=1, timeout=20, failure_threshold=1)
def function(deadline: Deadline) -> bool:
    """Passes before its deadline."""
    return deadline.remaining() > 0
