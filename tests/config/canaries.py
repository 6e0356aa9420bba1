"""Configurations with a canary, a value that stands for a secret, in every place.

The places come from the JSON Schema, so that a new kind or option is covered without a change here.
"""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import yaml

from exporter.config.schema import build_schema
from exporter.kinds import kinds

CANARY = "tw33ty"
NUMBER = 86753099
"""A canary that YAML reads as a number."""
PATH = tuple[str | int, ...]

TEXTS = (
    CANARY,
    f"{CANARY} {CANARY}",
    f"!{CANARY}",
    f"mysql -p{CANARY}",
    f"Authorization: Bearer {CANARY}",
    f"probe:{CANARY}@db.example",
    f"http://probe:{CANARY}/x@db.example/",
    f"ftp://probe:{CANARY}@db.example/",
    f"http://probe:{CANARY}@[::1",
    f"/path?token={CANARY}",
    f"({CANARY}",
    f"$[?{CANARY}",
    f"{CANARY}..example",
    f"\0{CANARY}",
    f"{CANARY}\n",
    f"10{CANARY}",
    CANARY * 100,
)
KEY = f"Authorization: Bearer {CANARY}"
VALUES: tuple[Any, ...] = (
    *TEXTS,
    NUMBER,
    -NUMBER,
    NUMBER + 0.75,
    [CANARY],
    [[CANARY]],
    {KEY: 1},
    {KEY: CANARY},
    {"value": CANARY},
    {"env": [CANARY]},
    {"env": CANARY, "file": CANARY},
    [{KEY: CANARY}],
)
# Texts in which the canary is part of an error of YAML itself.
BROKEN_YAML = (
    f"checks: *{CANARY}\n",
    f"checks: &{CANARY} *{CANARY}\n",
    f"checks:\n  - &{CANARY} [*{CANARY}]\n",
    f"checks: !{CANARY}\n",
    f"checks: !{CANARY} []\n",
    f"checks: !{CANARY}!x []\n",
    f"checks: !!{CANARY} []\n",
    f"checks: !<{CANARY}> []\n",
    f"checks:\n  - name: !!{CANARY} a\n",
    f"checks:\n  - name: !!int {CANARY}\n",
    f"checks:\n  - name: !!bool {CANARY}\n",
    f"checks:\n  - {{name: a, name: {CANARY}, '{KEY}': 1, '{KEY}': 2}}\n",
    f"checks:\n  - {{? [{CANARY}] : 1}}\n",
    f"checks:\n  - {{? {{{CANARY}: 1}} : 1}}\n",
    f"checks:\n  - <<: {CANARY}\n",
    f"checks:\n  - <<: [{CANARY}]\n",
    f"checks: '{CANARY}\n",
    f"checks: [{CANARY}\n",
    f"checks: {{{CANARY}\n",
    f"checks: {CANARY}: {CANARY}\n",
    f"checks: @{CANARY}\n",
    f"checks: %{CANARY}\n",
    f"checks: `{CANARY}`\n",
    f'checks: "\\q{CANARY}"\n',
    f'checks: "\\x{CANARY}"\n',
    f"%{CANARY} 1.2\n---\nchecks: []\n",
    f"%TAG !{CANARY}! x\n---\nchecks: !{CANARY}!y []\n",
    f"%YAML {CANARY}\n---\nchecks: []\n",
    f"checks: |{CANARY}\n  x\n",
    f"checks: []\n--- {CANARY}\n",
    f"checks: []\n... {CANARY}\n",
    f"checks: []\n{CANARY}\n",
    f"checks:\n\t{CANARY}: 1\n",
    f"checks:\n  - a: 1\n {CANARY}: 1\n",
    f"checks: &{CANARY}{{}} []\n",
    f"checks: \x1b{CANARY}\n",
    f"{CANARY}\n",
    f"- {CANARY}\n",
    f"'{KEY}': 1\n",
    f"'{KEY}': 1\n'{KEY}': 1\n",
    f"checks: {'[' * 30}{CANARY}\n",
    "checks:\n  - {name: a, httpGet: {port: 1, basicAuth: {username: u, password: {" + CANARY + "}}}}\n",
    "checks:\n  - {name: a, redis: {password: {" + CANARY + ": 1, " + CANARY + ": 2}}}\n",
    "checks:\n  - {name: a, redis: {password: {" + CANARY + ": !x 1}}}\n",
    f"checks:\n  - {{name: a, disk: {{}}, dependsOn: [{CANARY}]}}\n",
    f"livenessProbe: {{exec: {{command: [{CANARY}], '{KEY}': 1}}, periodSeconds: {CANARY}, '{KEY}': 1}}\n",
    f"checks:\n  - {{livenessProbe: {{httpGet: {{path: {CANARY}, host: {CANARY}, port: {CANARY}}}}}}}\n",
    f"apiVersion: {CANARY}\nkind: {CANARY}\nspec:\n  - readinessProbe: {{tcpSocket: {CANARY}}}\n",
    f"apiVersion: {CANARY}\nkind: {CANARY}\n",
    f"httpGet: {{path: {CANARY}}}\n",
    f"modules: {{'{KEY}': {{prober: http, timeout: {CANARY}, http: {{valid_status_codes: [{CANARY}]}}}}}}\n",
    f"modules: {{a: {{prober: {CANARY}, timeout: 10{CANARY}}}}}\n",
    f"services: {{'{KEY}': {{healthcheck: {{test: [CMD, {CANARY}], interval: {CANARY}}}}}}}\n",
    f"services: {{a: {{healthcheck: {{test: mysqladmin -p{CANARY} ping}}}}}}\n",
    f"checks:\n  - {{name: a, disk: {{}}, interval: {CANARY}, timeout: 10{CANARY}, url: http://{CANARY}}}\n",
    f"checks:\n  - {{name: {CANARY}, disk: {{}}}}\n  - {{name: {CANARY}, disk: {{}}}}\n",
    f"checks:\n  - {{name: {CANARY}, disk: {{}}, dependsOn: [{CANARY}]}}\n",
    f"checks: [{{name: a, disk: {{}}, dependsOn: [{CANARY}]}}, {{name: {CANARY}, disk: {{}}, dependsOn: [a]}}]\n",
)


def find_places(schema: dict[str, Any], node: dict[str, Any], path: PATH = ()) -> Iterator[tuple[PATH, set[str]]]:
    """Yield every place below a node of a JSON Schema, with the types that it accepts."""
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    forms = list(find_forms(schema, node))
    yield path, {form["type"] for form in forms if "type" in form}
    for form in forms:
        for key, inner in form.get("properties", {}).items():
            yield from find_places(schema, inner, (*path, key))
        for inner in [form["items"]] if isinstance(form.get("items"), dict) else ():
            yield from find_places(schema, inner, (*path, 0))
        for inner in [form["additionalProperties"]] if isinstance(form.get("additionalProperties"), dict) else ():
            yield from find_places(schema, inner, (*path, "any-key"))


def find_forms(schema: dict[str, Any], node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the alternatives of a node, each without a reference."""
    if "$ref" in node:
        yield from find_forms(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    elif "anyOf" in node:
        for form in node["anyOf"]:
            yield from find_forms(schema, form)
    else:
        yield node


def place(data: Any, path: PATH, value: Any) -> Any:
    """Return the data with a value at this path."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(key, int):
        return [place(data[0] if isinstance(data, list) and data else None, rest, value)]
    mapping = data if isinstance(data, dict) else {}
    return {**mapping, key: place(mapping.get(key), rest, value)}


def fill(data: Any, places: Iterable[tuple[PATH, set[str]]]) -> Iterator[Any]:
    """Yield the data with each canary in each place, as a value and as an unknown key.

    A number where a number is expected is no canary: a message shows it, so that the author sees what is out of range.
    """
    for path, types in places:
        for value in VALUES:
            if not (types & {"integer", "number"} and isinstance(value, int | float)):
                yield place(data, path, value)
        if "object" in types:
            yield place(data, (*path, KEY), CANARY)


@cache
def read_schema() -> dict[str, Any]:
    """Return the schema, which takes a quarter of a second to build."""
    return build_schema()


def make_checks(kind: str) -> list[dict[str, Any]]:
    """Return checks of this kind, each with a canary in one place: every canary in every place."""
    schema = read_schema()
    check = schema["$defs"]["Check"]
    others = set(kinds()) - {kind}
    properties = {key: value for key, value in check["properties"].items() if key not in others}
    places = find_places(schema, {**check, "properties": properties})
    (example,) = yaml.safe_load(kinds()[kind].examples[0])
    return list(fill(example, places))


def make_samples() -> list[Any]:
    """Return checks of every kind: every 29th, so that each canary gets to other places of each kind."""
    return [check for kind in kinds() for check in make_checks(kind)][::29]


def write_json(checks: list[Any]) -> str:
    """Return a file with these checks, one per line. JSON is YAML."""
    return '{"checks": [\n' + ",\n".join(json.dumps(check) for check in checks) + "\n]}\n"


def shows_canary(text: str) -> bool:
    """Whether a text contains a canary, or half of one."""
    return any(piece in text.lower() for piece in (CANARY[:4], CANARY[2:], str(NUMBER)))
