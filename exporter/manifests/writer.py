"""Nodes -> a stream of YAML that kubectl reads as it would have read the original."""

import io
import sys
from collections.abc import Iterable
from typing import Any

import yaml
from yaml.emitter import Emitter
from yaml.resolver import BaseResolver
from yaml.serializer import Serializer

from exporter.config.nodes import UNRESOLVED

_LINE_BREAKS = frozenset("\x85\u2028\u2029")  # a parser may read them as a line feed unless they are escaped


def write(documents: Iterable[yaml.Node]) -> str:
    """Return documents as a stream."""
    texts = []
    for document in documents:
        _adapt_styles(document, set())
        stream = io.StringIO()
        writer = _Writer(stream)
        writer.open()
        writer.serialize(document)
        writer.close()
        texts.append(stream.getvalue().removesuffix("...\n"))  # the emitter's end of a document that is a scalar
    return "---\n".join(texts)


def _adapt_styles(node: yaml.Node, seen: set[int]) -> None:
    """Choose styles in which the emitter keeps every value. `seen` has the nodes that are done: aliases repeat them."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        if node.tag == UNRESOLVED and not node.value:
            node.value = "null"  # the emitter would write an empty text in some places
        if not _LINE_BREAKS.isdisjoint(node.value):
            node.style = '"'
        elif node.style == ">":
            node.style = "|"
        return
    node.flow_style = not node.value  # type: ignore[attr-defined]
    for item in node.value:
        for child in item if isinstance(item, tuple) else (item,):
            _adapt_styles(child, seen)


class _Writer(Emitter, Serializer, BaseResolver):
    """PyYAML's serializer, with scalars whose type is still unknown: it writes them as they were written."""

    def __init__(self, stream: io.StringIO) -> None:
        Emitter.__init__(self, stream, width=sys.maxsize, allow_unicode=True)
        Serializer.__init__(self)
        BaseResolver.__init__(self)

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: tuple[bool, bool]) -> str:
        if kind is yaml.ScalarNode and implicit[0]:
            return UNRESOLVED
        return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]

    def emit(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent) and event.tag == UNRESOLVED:
            event.tag, event.implicit = None, (True, True)
        super().emit(event)
