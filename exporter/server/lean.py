"""What a serving process leaves out: parts of libraries that cost memory and are used rarely or never.

Only for a process of our own, before anything of Hypercorn or requests is imported: an application that runs the
exporter as a library keeps its libraries whole.
"""

import importlib
import sys
import types
import warnings
from typing import Any


def trim() -> None:
    """HTTP/2 and WebSocket are loaded at the first client that speaks them, the guessing of encodings not at all."""
    _late("hypercorn.protocol.h2", "H2Protocol")
    _late("hypercorn.protocol.ws_stream", "WSStream")
    sys.modules["charset_normalizer"] = None  # type: ignore[assignment]  # requests does without, and says so
    with warnings.catch_warnings(action="ignore"):
        importlib.import_module("requests")
    del sys.modules["charset_normalizer"]


def _late(name: str, protocol: str) -> None:
    stand_in = types.ModuleType(name)

    def load(*args: Any) -> Any:
        if sys.modules[name] is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), protocol)(*args)

    setattr(stand_in, protocol, load)
    sys.modules[name] = stand_in
