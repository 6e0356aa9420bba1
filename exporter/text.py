"""Text for terminals, logs and clients, made safe and short: targets, summaries and messages come from outside.

It imports nothing, because `health-exporter ask` needs it in every exec probe.
"""


def replace_unprintable(text: str, replacement: str = "?") -> str:
    """Return the text as one line that cannot control a terminal: line ends and escapes become the replacement."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else replacement for character in text)


def replace_surrogates(text: str) -> str:
    """Return the text with `?` for each lone surrogate, because UTF-8 cannot encode a text that contains one."""
    return text.encode("utf-8", "replace").decode()


def format_endpoint(host: str, port: int) -> str:
    """Return `host:port`; an IPv6 address is put in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def format_number(number: float) -> str:
    """Return a number as people write it: with six digits, or with its whole part if that is longer.

    >>> format_number(0.1 + 0.2), format_number(12345678), format_number(2.5e30)
    ('0.3', '12345678', '2.5e+30')
    """
    if 1e5 <= abs(number) < 1e15:
        return f"{number:.2f}".rstrip("0").rstrip(".")
    return f"{number:g}"


def format_count(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> format_count(1, "check"), format_count(3, "check")
    ('1 check', '3 checks')
    """
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def shorten(text: str, length: int) -> str:
    """Return the text, or its beginning with an ellipsis, in at most `length` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"
