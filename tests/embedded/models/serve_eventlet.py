"""Serves the application with eventlet, which has patched the standard library: `python serve_eventlet.py`."""

import eventlet

eventlet.monkey_patch()

from app import app  # noqa: E402
from eventlet import wsgi  # noqa: E402

listener = eventlet.listen(("127.0.0.1", 0))
print(f"Listening at: http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
wsgi.server(listener, app, log_output=False)
