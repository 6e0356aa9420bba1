"""The text of `health-exporter kinds`, in lines that fit the terminal."""

from collections.abc import Iterable, Iterator

from exporter.config.manual import (
    Option,
    describe_kind,
    list_check_options,
    list_extras,
    list_kind_options,
    summarize,
)
from exporter.config.unknown_keys import find_nearest
from exporter.kinds import kinds
from exporter.probe.check import Probe
from exporter.render.columns import wrap

CHECK = "check"
"""The topic of the options that every check has."""
_INTRODUCTION = "The options that every check has. They are next to its kind."
_END = "health-exporter kinds KIND prints the manual of a kind, and `kinds check` the options that every check has."


class UnknownTopicError(Exception):
    """There is no kind or option of this name."""


def list_topics(begin: str) -> list[str]:
    """Return the topics that may begin like this: the kinds or, after the name of one, its options."""
    name, dot, _ = begin.partition(".")
    if not dot:
        return [*kinds(), CHECK]
    return [f"{name}.{option}" for option in _find_options(name)] if name == CHECK or name in kinds() else []


def write(topic: str, width: int) -> list[str]:
    """Return the lines of a topic. Raises UnknownTopicError."""
    name, dot, option = topic.partition(".")
    if not topic:
        return [*_write_overview(width)]
    if name != CHECK and name not in kinds():
        raise UnknownTopicError(f"no kind {name}{_suggest(name, kinds())}; `health-exporter kinds` lists all")
    return [*(_write_option(name, option, width) if dot else _write_kind(name, width))]


def _write_overview(width: int) -> Iterator[str]:
    indent = max(map(len, kinds())) + 2
    for name, kind in kinds().items():
        extras = f" (extra {', '.join(list_extras(kind))})" if kind.needs else ""
        first, *rest = wrap(f"{summarize(kind)}{extras}", width - indent)
        yield f"{name:{indent}}{first}"
        yield from (f"{'':{indent}}{line}" for line in rest)
    yield from ("", *wrap(_END, width))


def _write_kind(name: str, width: int) -> Iterator[str]:
    kind = kinds().get(name)
    yield name
    for paragraph in _list_paragraphs(kind):
        yield from ("", *_indent(paragraph, 2, width))
    yield from ("", "OPTIONS")
    for option in _find_options(name).values():
        yield from _format(option, width)
    if kind is None:
        return
    if kind.measures:
        yield from ("", "METRICS")
    for metric, text in kind.measures.items():
        yield from (f"  health_{metric}", *_indent(text, 6, width))
    for example in kind.examples:
        yield from ("", "EXAMPLE", *(f"  {line}" for line in example.strip().splitlines()))


def _list_paragraphs(kind: type[Probe] | None) -> list[str]:
    if kind is None:
        return [_INTRODUCTION]
    return [*describe_kind(kind).split("\n\n"), *(f"Requires the extra {extra}." for extra in list_extras(kind))]


def _write_option(kind: str, name: str, width: int) -> Iterator[str]:
    """Yield the lines of an option and of the keys inside it."""
    options, wanted = _find_options(kind), name.replace("[]", "")
    if wanted not in options:
        nearest = _suggest(wanted, options)
        raise UnknownTopicError(f"{kind} has no option {name}{nearest}; `health-exporter kinds {kind}` lists all")
    for key, option in options.items():
        if key == wanted or key.startswith(f"{wanted}."):
            yield from _format(option, width)


def _find_options(name: str) -> dict[str, Option]:
    """Return the options of a kind, or of every check, by their names without `[]`."""
    options = list_check_options() if name == CHECK and CHECK not in kinds() else list_kind_options(name)
    return {option.name.replace("[]", ""): option for option in options}


def _format(option: Option, width: int) -> Iterator[str]:
    default = "" if option.default is None else f"  default: {option.default}"
    plain_type = option.type.replace("`", "")
    yield f"  {option.name} <{plain_type}>{'  required' if option.required else default}"
    yield from _indent(option.description, 6, width)


def _indent(text: str, indent: int, width: int) -> list[str]:
    return [f"{'':{indent}}{line}" for line in wrap(text, width - indent)]


def _suggest(name: str, known: Iterable[str]) -> str:
    nearest = find_nearest(name, [*known])
    return f", did you mean {nearest}?" if nearest else ""
