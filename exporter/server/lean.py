"""Saves memory by not loading parts of libraries that are used rarely or never.

Call it only in a process of our own, before Hypercorn is imported. An application that embeds the exporter
keeps its libraries complete.
"""

import importlib
import sys
import types
from typing import Any


def trim() -> None:
    """Load HTTP/2 and WebSocket only for the first client that uses them."""
    _defer("hypercorn.protocol.h2", "H2Protocol")
    _defer("hypercorn.protocol.ws_stream", "WSStream")


def _defer(name: str, protocol: str) -> None:
    placeholder = types.ModuleType(name)

    def load(*args: Any) -> Any:
        if sys.modules[name] is placeholder:
            del sys.modules[name]
        return getattr(importlib.import_module(name), protocol)(*args)

    setattr(placeholder, protocol, load)
    sys.modules[name] = placeholder
