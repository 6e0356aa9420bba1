"""Numbers with their units, for people: the same in messages, on the page and in reports."""

from exporter.text import format_number

UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def format_quantity(name: str, value: float) -> str:
    """Return a value with its unit, which is the suffix of the measurement's name.

    >>> format_quantity("disk_used_ratio", 0.843), format_quantity("disk_available_bytes", 2**30)
    ('84.3 %', '1 GiB')
    """
    if name.endswith("_timestamp_seconds"):
        return f"{value:.0f}"
    if name.endswith("_seconds"):
        return format_duration(value)
    if name.endswith("_bytes"):
        return format_size(value)
    if name.endswith("_ratio"):
        return f"{_shorten(value * 100)} %"
    return format_number(value)


def format_duration(seconds: float) -> str:
    """Return a duration in one unit, or in two from a minute on.

    >>> [format_duration(seconds) for seconds in (0.0032, 4, 300, 3690, 180000)]
    ['3.2 ms', '4.0 s', '5 min', '1 h 1 min', '2 d 2 h']
    """
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    if 0 < seconds < 0.00005:  # otherwise 0.0 ms
        return f"{seconds * 1000:.1g} ms"
    if seconds < 0.99995:  # otherwise 1000.0 ms
        return f"{seconds * 1000:.1f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    return format_seconds(round(seconds))


def format_seconds(seconds: int) -> str:
    """Return a duration of at least a second in its largest unit, with the next one unless that is 0.

    >>> format_seconds(45), format_seconds(3690), format_seconds(86400)
    ('45 s', '1 h 1 min', '1 d')
    """
    at = next(index for index, (_, length) in enumerate(UNITS) if seconds >= length)
    parts = []
    for unit, length in UNITS[at : at + 2]:
        count, seconds = divmod(seconds, length)
        parts += [f"{count} {unit}"] if count else []
    return " ".join(parts)


def format_size(count: float) -> str:
    """Return bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1023.5:  # otherwise 1024
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


def _shorten(value: float) -> str:
    """Return a number with one digit after the point, unless that is 0, or with two digits if it is very small."""
    if 0 < abs(value) < 0.05:
        return f"{value:.2g}"
    return f"{value:.1f}".removesuffix(".0")
