"""HTML from templates. Every value is escaped, unless it is HTML that a template made.

There is no template engine, because a page of 500 checks took Jinja twice the CPU time, and each start of the exporter
40 ms for its templates.
"""

import html
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from exporter.render.words import format_age

_HERE = Path(__file__).parent


class Html(str):
    """A text that is HTML, so it is not escaped once more."""

    __slots__ = ()

    def __add__(self, other: str) -> "Html":
        return Html(f"{self}{other if type(other) is Html else escape(other)}")


NOTHING = Html()


def read(name: str) -> Html:
    """Return the content of a file of this folder."""
    return Html((_HERE / name).read_text(encoding="utf-8"))


def fill(template: str, *values: object) -> Html:
    """Return the template with these values in the places of `%s`."""
    return Html(template % tuple([value if type(value) is Html else escape(value) for value in values]))


def fill_names(template: str, values: Mapping[str, object]) -> Html:
    """Return the template with these values in the places of `%(name)s`."""
    return Html(template % {name: value if type(value) is Html else escape(value) for name, value in values.items()})


def escape(value: object) -> str:
    """Return a value as text in which nothing is a tag, an entity or the end of an attribute."""
    return html.escape(str(value))


def fill_if(template: str, value: object) -> Html:
    """Return the template with this value, or nothing if the value is empty."""
    return fill(template, value) if value else NOTHING


def join(parts: Iterable[Html], between: str = "") -> Html:
    """Return all parts, one after the other."""
    return Html(between.join(parts))


def show_time(moment: float, now: float) -> Html:
    """Return a time in UTC with a relative hint, which the page's script updates. Today's date is left out."""
    return _show_second(int(moment), int(now))


@lru_cache(maxsize=512)  # hundreds of checks run within the same few seconds
def _show_second(second: int, now: int) -> Html:
    text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
    shown = text[11:19] if second // 86400 == now // 86400 else f"{text[:10]} {text[11:19]}"
    return Html(f'<time datetime="{text}">{shown} UTC <small>{format_age(now - second)}</small></time>')
