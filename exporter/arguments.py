"""How options are written: the environment variables that replace them, and times.

The keeper and `ask` read their own command lines with this, so it imports nothing.
"""

COMPLETE = "_HEALTH_EXPORTER_COMPLETE"
"""The variable through which a shell asks for the words that may follow; click derives it from the program's name."""
_UNITS = (("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600))


def name_variable(option: str, command: str = "") -> str:
    """Return the environment variable of an option. Those of `serve` are without a command.

    >>> name_variable("--web.listen-address"), name_variable("--ca-file", "ask")
    ('HEALTH_EXPORTER_WEB_LISTEN_ADDRESS', 'HEALTH_EXPORTER_ASK_CA_FILE')
    """
    words = f"health_exporter_{command}{'_' if command else ''}{option.removeprefix('--')}"
    return words.replace(".", "_").replace("-", "_").upper()


def parse_seconds(text: str) -> float:
    """Return a number of seconds, or a duration in one unit, in seconds. Raises ValueError.

    >>> parse_seconds("1.5"), parse_seconds("60s"), parse_seconds("5m"), parse_seconds("500ms")
    (1.5, 60.0, 300.0, 0.5)
    """
    for unit, length in _UNITS:
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * length
    return float(text)
