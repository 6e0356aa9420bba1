"""Unknown keys: which known key was meant, or where the key belongs."""

from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from exporter.config.complaint import Keys
from exporter.config.synonyms import explain_synonym
from exporter.probe.secret import Secret

MAX_COMPARED = 50  # characters of a key that are compared with the known keys
MIN_SIMILARITY = 0.75
"""How alike two keys must be, from 0 to 1, for one to be a misspelling of the other (`difflib`'s ratio)."""


def find_nearest(key: str, known: Collection[str]) -> str | None:
    """Return the known key that this one was probably meant to be; None if it resembles none of them."""
    return _search_nearest(key[:MAX_COMPARED], tuple(known))


def explain_unknown(model: type[BaseModel], path: Keys, value: Any) -> str:
    """Return the message of a complaint about an unknown key."""
    key, parent = str(path[-1]), _find_model(model, path[:-1])
    if synonym := explain_synonym(key, value, _list_keys(parent)):
        return synonym
    if known := find_nearest(key, _list_keys(parent)):
        return f"unknown key, did you mean {known}?"
    if places := [place for place, inner in _list_inner_models(parent) if key in _list_keys(inner)]:
        return f"unknown key here; it belongs inside {' or '.join(places)}"
    outer = _list_keys(_find_model(model, path[:-2])) if len(path) > 1 else []
    if key in outer:
        return f"unknown key here; it belongs one level up, next to {path[-2]}"
    if synonym := explain_synonym(key, value, outer):
        return f"{synonym}, one level up, next to {path[-2]}"
    return "unknown key"


def find_misspelled(model: type[BaseModel], errors: list[ErrorDetails]) -> set[Keys]:
    """Return the paths of known keys that are misspelled, so that they are not reported as missing too."""
    unknown = [error["loc"] for error in errors if error["type"] == "extra_forbidden"]
    return {
        (*path[:-1], known)
        for path in unknown
        if (known := find_nearest(str(path[-1]), _list_keys(_find_model(model, path[:-1]))))
    }


def find_models(model: type[BaseModel], path: Keys) -> Iterator[type[BaseModel]]:
    """Yield the models of the mappings along a path, as far as the path leads through models."""
    return (inner for _, inner in _follow(model, path))


def hide_secret_keys(model: type[BaseModel], path: Keys) -> Keys:
    """Return the path up to a Secret's unknown key: in `password: {hunter2}`, the key is the secret."""
    for position, inner in _follow(model, path):
        if inner is Secret and position < len(path) and path[position] not in _list_keys(Secret):
            return path[:position]
    return path


def _follow(model: type[BaseModel], path: Keys) -> Iterator[tuple[int, type[BaseModel]]]:
    """Yield the models along a path, as far as it leads through models, each with the position of the key in it.

    The position of the last one is the end of the path.
    """
    for position, key in enumerate(path):
        if isinstance(key, str):
            yield position, model
            inner = dict(_list_inner_models(model)).get(key)
            if inner is None:
                return
            model = inner
    yield len(path), model


@lru_cache(1000)
def _search_nearest(key: str, known: tuple[str, ...]) -> str | None:
    import difflib  # a valid configuration does not need it

    candidates = {_normalize(name): name for name in known}
    similar = difflib.get_close_matches(_normalize(key), candidates, 1, MIN_SIMILARITY)
    longer = [name for name in candidates if len(key) > 2 and name.startswith(_normalize(key))]
    return next((candidates[name] for name in (*similar, *longer)), None)


def _normalize(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()


def _find_model(model: type[BaseModel], path: Keys) -> type[BaseModel]:
    """Return the model of the mapping at a path. Every key of the path must be one that has a model of its own."""
    for key in path:
        if isinstance(key, str):
            model = dict(_list_inner_models(model))[key]
    return model


def _list_inner_models(model: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    """Return the keys of a model whose value is another model, or a list of them."""
    fields = [(field.alias or name, field.annotation) for name, field in model.model_fields.items()]
    return [(key, inner) for key, annotation in fields if (inner := find_inner_model(annotation))]


def find_inner_model(annotation: Any) -> type[BaseModel] | None:
    """Return the model in a type, such as that of the items of a list; None if there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(find_inner_model, get_args(annotation))), None)


def _list_keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]
