"""JSONPath (RFC 9535) with bounded work: a target chooses the content, so it must not choose how long a query takes.

Theory of operation. The library python-jsonpath parses a path. It does not search for the values: it recurses, keeps an
object for every value it visits, and cannot be stopped. Instead, `compile_path` translates its tree into functions. A
segment is a function from values to values, and all are lazy, so a search takes little memory beyond the parsed
content. A Query counts the values that are visited, and checks the deadline. A path that visits every value once stays
far below the maximum; only nested descendant segments and queries in filters can reach it.

Of the functions of RFC 9535, match and search are not supported, because the run time of their regular expressions has
no bound.

The file is longer than others because paths contain filters, and filters contain paths.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from exporter.model import Deadline
from exporter.probe.extras import require
from exporter.probe.jsonvalue import is_equal, is_less

MAX_VISITS = 1_000_000
"""Values that a query visits, ten times as many as there can be (jsonvalue.MAX_VALUES)."""
_CHECK_INTERVAL = 1000  # visits after which the deadline is checked

_NOTHING = object()
"""The value of a query without a result, and of a function without one (RFC 9535, section 2.4.1)."""


class Query:
    """One evaluation of a path: the whole content, and the number of visits that are left."""

    def __init__(self, root: Any, deadline: Deadline) -> None:
        self.root = root
        self.results: dict[int, list[Any]] = {}  # of the queries in filters that begin at the root
        self._deadline = deadline
        self._left = MAX_VISITS
        self._unchecked = 0

    def spend(self, visits: int) -> None:
        """Count visits. Raises ValueError beyond the maximum, TimeoutError if the deadline has passed."""
        self._left -= visits
        self._unchecked += visits
        if self._left < 0:
            raise ValueError(f"visits more than {MAX_VISITS} values")
        if self._unchecked >= _CHECK_INTERVAL:
            self._unchecked = 0
            self.check()

    def check(self) -> None:
        """Raise TimeoutError if the deadline has passed."""
        if self._deadline.remaining() <= 0:
            raise TimeoutError("the deadline has passed")


Values = Iterator[Any]
Segment = Callable[[Query, Values], Values]
Selector = Callable[[Query, Any], Iterable[Any]]
Expression = Callable[[Query, Any], Any]


class Path:
    """A path that has been compiled."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self._segments = tuple(segments)

    def find(self, content: Any, deadline: Deadline) -> Values:
        """Yield the values at this path.

        Raises ValueError if there is too much to visit, and TimeoutError if the deadline passes.
        """
        return self.select(Query(content, deadline), content)

    def select(self, query: Query, value: Any) -> Values:
        """Yield the values at this path from a value on."""
        values: Values = iter((value,))
        for segment in self._segments:
            values = segment(query, values)
        return values


def compile_path(text: str) -> Path:
    """Return the compiled path. Raises ValueError for a text that is not a JSONPath of RFC 9535."""
    library = require("jsonpath", "expect")
    environment = library.JSONPathEnvironment(strict=True)
    functions = environment.function_extensions
    environment.function_extensions = {name: functions[name] for name in _FUNCTIONS}
    try:
        return _translate_path(environment.compile(text))
    except library.JSONPathError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    except (KeyError, AttributeError):
        raise ValueError("uses an extension of RFC 9535") from None


def _translate_path(path: Any) -> Path:
    return Path(partial(_SEGMENTS[type(item).__name__], _translate_selectors(item)) for item in path.segments)


def _translate_selectors(segment: Any) -> tuple[Selector, ...]:
    return tuple(_SELECTORS[type(selector).__name__](selector) for selector in segment.selectors)


def _select_children(selectors: tuple[Selector, ...], query: Query, values: Values) -> Values:
    for value in values:
        query.spend(1)
        for selector in selectors:
            yield from selector(query, value)


def _select_descendants(selectors: tuple[Selector, ...], query: Query, values: Values) -> Values:
    return _select_children(selectors, query, _walk(query, values))


def _walk(query: Query, values: Values) -> Values:
    """Yield every value with all arrays and objects inside it, parents first."""
    for value in values:
        stack = [value]
        while stack:
            node = stack.pop()
            yield node
            children = _list_children(node)
            query.spend(len(children))
            stack += [child for child in reversed(children) if isinstance(child, dict | list)]


def _list_children(value: Any) -> Any:
    """Return the values in an object or an array."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _select_name(name: str, _: Query, value: Any) -> Iterable[Any]:
    return (value[name],) if isinstance(value, dict) and name in value else ()


def _select_index(index: int, _: Query, value: Any) -> Iterable[Any]:
    return (value[index],) if isinstance(value, list) and -len(value) <= index < len(value) else ()


def _select_slice(items: slice, query: Query, value: Any) -> Iterable[Any]:
    if not isinstance(value, list) or items.step == 0:
        return ()
    query.spend(len(value))
    return value[items]


def _select_all(query: Query, value: Any) -> Iterable[Any]:
    return _visit(query, _list_children(value))


def _visit(query: Query, values: Iterable[Any]) -> Values:
    for value in values:
        query.spend(1)
        yield value


def _select_if(condition: Expression, query: Query, value: Any) -> Iterable[Any]:
    for child in _visit(query, _list_children(value)):
        query.check()  # every time, because comparing two values can take long
        if condition(query, child):
            yield child


def _translate_condition(expression: Any) -> Expression:
    """Translate an expression that is true or false; that of a query is whether it has a result."""
    match type(expression).__name__:
        case "FilterExpression":
            return _translate_condition(expression.expression)
        case "PrefixExpression":
            negated = _translate_condition(expression.right)
            return lambda query, value: not negated(query, value)
        case "InfixExpression" if expression.logical:
            left, right = _translate_condition(expression.left), _translate_condition(expression.right)
            if expression.operator == "&&":
                return lambda query, value: left(query, value) and right(query, value)
            return lambda query, value: left(query, value) or right(query, value)
        case "InfixExpression":
            left, right = _translate_value(expression.left), _translate_value(expression.right)
            compare = _COMPARISONS[expression.operator]
            return lambda query, value: compare(left(query, value), right(query, value))
    select = _translate_query(expression)
    return lambda query, value: any(True for _ in select(query, value))


def _translate_value(expression: Any) -> Expression:
    """Translate an expression that has one value, or none."""
    match type(expression).__name__:
        case "Nil":
            return lambda _, __: None
        case "FunctionExtension":
            function = _FUNCTIONS[expression.name]
            (argument,) = expression.args
            translate = _translate_value if expression.name == "length" else _translate_query
            evaluate = translate(argument)
            return lambda query, value: function(evaluate(query, value))
        case "RelativeFilterQuery" | "RootFilterQuery":
            select = _translate_query(expression)
            return lambda query, value: next(iter(select(query, value)), _NOTHING)
    literal = expression.value
    return lambda _, __: literal


def _translate_query(expression: Any) -> Selector:
    """Translate a query inside a filter. One that begins at the root has the same result for every value."""
    path = _translate_path(expression.path)
    if type(expression).__name__ == "RelativeFilterQuery":
        return path.select

    def select(query: Query, _: Any) -> list[Any]:
        if id(path) not in query.results:
            query.results[id(path)] = list(path.select(query, query.root))
        return query.results[id(path)]

    return select


def _length(value: Any) -> Any:
    return len(value) if isinstance(value, str | list | dict) else _NOTHING


def _count(values: Iterable[Any]) -> int:
    return sum(1 for _ in values)


def _value(values: Iterable[Any]) -> Any:
    found = list(islice(values, 2))
    return found[0] if len(found) == 1 else _NOTHING


_SEGMENTS: dict[str, Callable[[tuple[Selector, ...], Query, Values], Values]] = {
    "JSONPathChildSegment": _select_children,
    "JSONPathRecursiveDescentSegment": _select_descendants,
}
_SELECTORS: dict[str, Callable[[Any], Selector]] = {
    "NameSelector": lambda selector: partial(_select_name, selector.name),
    "IndexSelector": lambda selector: partial(_select_index, selector.index),
    "SliceSelector": lambda selector: partial(_select_slice, selector.slice),
    "WildcardSelector": lambda _: _select_all,
    "Filter": lambda selector: partial(_select_if, _translate_condition(selector.expression)),
}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": is_equal,
    "!=": lambda one, other: not is_equal(one, other),
    "<": is_less,
    ">": lambda one, other: is_less(other, one),
    "<=": lambda one, other: is_less(one, other) or is_equal(one, other),
    ">=": lambda one, other: is_less(other, one) or is_equal(one, other),
}
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {"length": _length, "count": _count, "value": _value}
