"""Windows of time: sorted, disjoint, and from their begin up to, but not including, their end."""

from collections.abc import Iterable
from typing import TypeAlias

Windows: TypeAlias = tuple[tuple[float, float], ...]


def unite(*sets: Windows) -> Windows:
    """Return the time that is in at least one of these sets."""
    found: list[tuple[float, float]] = []
    for begin, end in sorted(window for windows in sets for window in windows if window[0] < window[1]):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return tuple(found)


def intersect(first: Windows, second: Windows) -> Windows:
    """Return the time that is in both sets."""
    found, left, right = [], 0, 0
    while left < len(first) and right < len(second):
        begin, end = max(first[left][0], second[right][0]), min(first[left][1], second[right][1])
        if begin < end:
            found.append((begin, end))
        if first[left][1] < second[right][1]:
            left += 1
        else:
            right += 1
    return tuple(found)


def measure(windows: Iterable[tuple[float, float]]) -> float:
    """Return the length of all windows together."""
    return sum(end - begin for begin, end in windows)
