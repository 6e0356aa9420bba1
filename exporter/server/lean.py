"""Saves memory by not importing parts of libraries that are used rarely or never.

This is only for a process of our own, before Hypercorn is imported. An application that embeds the exporter keeps its
libraries complete.
"""

import importlib
import sys
import types
from typing import Any


def trim() -> None:
    """Import Hypercorn's HTTP/2 and WebSocket protocols only when a connection needs one.

    HTTP/2 never does, because listener.py refuses it.
    """
    _defer("hypercorn.protocol.h2", "H2Protocol")
    _defer("hypercorn.protocol.ws_stream", "WSStream")


def _defer(name: str, protocol: str) -> None:
    placeholder = types.ModuleType(name)

    def create(*args: Any) -> Any:
        if sys.modules[name] is placeholder:
            del sys.modules[name]
        return getattr(importlib.import_module(name), protocol)(*args)

    setattr(placeholder, protocol, create)
    sys.modules[name] = placeholder
