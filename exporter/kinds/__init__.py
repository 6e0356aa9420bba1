"""The kinds of checks, one file each: `http_get.py` is the kind `httpGet`. No list names them; `kinds()` finds them."""

import importlib
import importlib.metadata
import pkgutil
import traceback
from collections.abc import Iterator, Mapping
from functools import cache

from pydantic.alias_generators import to_camel

from exporter.probe.check import FUNCTION, Probe

PLUGINS = "health_exporter.probes"
"""The entry-point group through which another package adds kinds: each entry is a kind's name and its Probe."""


class KindError(Exception):
    """A kind cannot be loaded. The exporter does not start, and the message names the kind."""


class _Kinds(Mapping[str, type[Probe]]):
    """Kinds by name. A kind in this folder is imported on first use: a configuration has few of them.

    Raises KindError for a kind that cannot be loaded.
    """

    def __init__(self, files: Mapping[str, str], plugins: Mapping[str, type[Probe]]) -> None:
        """`files` are the names of modules."""
        self._files = files
        self._loaded = dict(plugins)
        self._names = sorted([*files, *plugins])

    def __getitem__(self, name: str) -> type[Probe]:
        if name not in self._loaded:
            self._loaded[name] = _load_file(self._files[name])
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._loaded or name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@cache
def kinds() -> Mapping[str, type[Probe]]:
    """Return every kind by name: those in this folder, and the entry points of other packages.

    Raises KindError for a plugin that cannot be loaded, because a check must not disappear silently.
    """
    files = {to_camel(file.name): file.name for file in pkgutil.iter_modules(__path__)}
    plugins: dict[str, type[Probe]] = {}
    for plugin in importlib.metadata.entry_points(group=PLUGINS):
        if plugin.name in files or plugin.name in plugins or plugin.name == FUNCTION:
            raise KindError(f"plugin {plugin.value}: the kind {plugin.name} already exists")
        plugins[plugin.name] = _load_plugin(plugin)
    return _Kinds(files, plugins)


def find_place(error: Exception) -> str:
    """Return the name of the file, and the line, of the code that raised this exception."""
    (*_, frame) = traceback.extract_tb(error.__traceback__)
    return f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"


def _load_file(name: str) -> type[Probe]:
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except Exception as error:
        cause = f"{type(error).__name__}: {error} ({find_place(error)})"
        raise KindError(f"{name}.py: the kind cannot be loaded: {cause}") from error
    probes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Probe) and value.__module__ == module.__name__
    ]
    if len(probes) != 1:
        raise KindError(f"{module.__file__}: a kind's file defines exactly one Probe, this one defines {len(probes)}")
    return probes[0]


def _load_plugin(plugin: importlib.metadata.EntryPoint) -> type[Probe]:
    package = f"{plugin.dist.name} {plugin.dist.version}" if plugin.dist else "an unknown package"
    try:
        kind = plugin.load()
    except Exception as error:
        raise KindError(
            f"the kind {plugin.name} of {package} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Probe)):
        raise KindError(f"the kind {plugin.name} of {package} is not a Probe: {plugin.value}")
    return kind
