"""Mutants of the rules: each differs from the rule in one number, duration, comparison, set operator or label."""

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ALERTS = Path(__file__).parents[2] / "alerts"
FILES = ("health-exporter.rules.yml", "health-slo.rules.yml")

Rule = dict[str, Any]

_TOKEN = re.compile(
    r"""
    (?P<selector>\{[^}]*\})
    | \[(?P<window>\w+)\]
    | \b(?P<clause>on|ignoring|by|group_left)\s*\((?P<labels>[^)]*)\)
    | (?P<set>\b(?:and|or|unless)\b)
    | (?P<word>[A-Za-z_:][\w:]*)
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<comparison>[=!<>]=|[<>])
    """,
    re.VERBOSE,
)
_COMPARISONS = {"==": ("!=",), ">": (">=", "<"), ">=": (">", "<"), "<": ("<=", ">"), "<=": ("<", ">")}
_SETS = {"and": ("unless",), "unless": ("and",), "or": ("and", "unless")}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Mutant:
    """A rule with one change, and the rules that depend on it, under names of their own."""

    name: str
    number: int
    names: tuple[str, ...]
    rules: tuple[Rule, ...]

    def renamed(self, text: str) -> str:
        """The text with this mutant's names instead of the rules'."""
        return re.sub(rf"(?<![\w:])({'|'.join(self.names)})(?![\w:])", rf"\1_{self.number}", text)


def _read(path: Path) -> Any:
    return yaml.load(path.read_text(), yaml.CSafeLoader)


@cache
def rules() -> tuple[tuple[str, Rule], ...]:
    """Every rule with its file's name."""
    groups = ((file, group) for file in FILES for group in _read(ALERTS / file)["groups"])
    return tuple((file, rule) for file, group in groups for rule in group["rules"])


def title(rule: Rule) -> str:
    return str(rule.get("alert") or rule["record"])


def unit_of(rule: Rule) -> str:
    """What a rule is tested with: an alert with those of its name, a recording rule with all."""
    return str(rule.get("alert", "health-slo"))


def files_of(unit: str) -> list[Path]:
    return sorted((ALERTS / "tests").glob(f"{unit}.*test.yml"))


def seconds(duration: str) -> int:
    return int(duration[:-1]) * _SECONDS[duration[-1]]


def changes(rule: Rule) -> Iterator[tuple[str, Rule]]:
    """What is changed, and the rule with that change."""
    for key in ("for", "keep_firing_for"):
        if key in rule:
            for changed in _durations(rule[key]):
                yield f"{key}: {rule[key]} -> {changed}", {**rule, key: changed}
    expr = str(rule["expr"])
    for place, token in enumerate(_TOKEN.finditer(expr)):
        for changed in _changed(token):
            mutated = expr[: token.start()] + changed + expr[token.end() :]
            yield f"expr, word {place}: {token.group()} -> {changed}", {**rule, "expr": mutated}


def _changed(token: re.Match[str]) -> Iterator[str]:
    found = token.groupdict()
    if found["window"]:
        yield from (f"[{each}]" for each in _durations(found["window"]))
    elif found["clause"]:
        labels = [each.strip() for each in found["labels"].split(",") if each.strip()]
        for label in labels:
            yield f"{found['clause']} ({', '.join(each for each in labels if each != label)})"
    elif found["set"]:
        yield from _SETS[found["set"]]
    elif found["number"]:
        yield from _numbers(float(found["number"]))
    elif found["comparison"]:
        yield from _COMPARISONS[found["comparison"]]


def _durations(duration: str) -> tuple[str, str]:
    return f"{seconds(duration) // 2}s", f"{seconds(duration) * 2}s"


def _numbers(number: float) -> tuple[str, ...]:
    if number == 0:
        return ("1",)
    if number < 10 and number.is_integer():
        return f"{number - 1:g}", f"{number + 1:g}"
    return (f"{number * 0.9:g}",) if 1 > number > 0.95 else (f"{number * 0.9:g}", f"{number * 1.1:g}")


def mutants(unit: str) -> list[Mutant]:
    """Every mutant of the alerts of this name, or of all recording rules."""
    everything = [rule for _, rule in rules()]
    seen: dict[str, int] = {}
    found: list[Mutant] = []
    for rule in everything:
        if unit_of(rule) != unit:
            continue
        seen[title(rule)] = seen.get(title(rule), 0) + 1
        names = _dependent(rule, everything)
        for change, changed in changes(rule):
            name = f"{title(rule)} {seen[title(rule)]}: {change}"
            concerned = [changed if each is rule else each for each in everything if title(each) in names]
            found.append(Mutant(name, len(found), names, tuple(concerned)))
    return found


def _dependent(rule: Rule, everything: list[Rule]) -> tuple[str, ...]:
    """The names of this rule and of the recording rules that it has a part in."""
    names = [title(rule)]
    for each in everything:
        if "record" in each and any(name in each["expr"] for name in names) and title(each) not in names:
            names.append(title(each))
    return tuple(names)


def survivors(candidates: Sequence[Mutant], test: Path, folder: Path, promtool: str) -> list[Mutant]:
    """Those that pass this test file. All are evaluated side by side, because most of the time is in the beginning."""
    left = list(candidates)
    while left:
        said = _run(left, test, folder, promtool)
        if said is None:
            return left
        noticed = {int(each) for each in re.findall(rf"(?:{'|'.join(_names(left))})_(\d+)\b", said)}
        rest = [each for each in left if each.number not in noticed]
        assert len(rest) < len(left), said
        assert "parse error" not in said, said
        left = rest
    return []


def _run(candidates: Sequence[Mutant], test: Path, folder: Path, promtool: str) -> str | None:
    """What promtool says if a test of a mutant fails. A mutant that cannot be evaluated ends the others' tests too."""
    content = _read(test)
    content["rule_files"] = [str(folder / "rules.yml")]
    content["tests"] = [_multiplied(each, candidates) for each in content["tests"]]
    needed = _needed(json.dumps([each.get("promql_expr_test") for each in _read(test)["tests"]]))
    concerned = [rule for _, rule in rules() if title(rule) in needed and "record" in rule]
    for mutant in candidates:
        chosen = (rule for rule in mutant.rules if title(rule) in needed)
        concerned += [json.loads(mutant.renamed(json.dumps({**rule, "annotations": {}}))) for rule in chosen]
    (folder / "rules.yml").write_text(json.dumps({"groups": [{"name": "mutants", "rules": concerned}]}))
    (folder / "test.yml").write_text(json.dumps(content))
    done = subprocess.run(
        [promtool, "test", "rules", str(folder / "test.yml")], capture_output=True, text=True, check=False
    )
    return None if done.returncode == 0 else done.stdout + done.stderr


def _needed(text: str) -> set[str]:
    """The names of the rules that a test's text names, and of the recording rules that those are made of."""
    needed: set[str] = set()
    while found := {title(rule) for _, rule in rules() if title(rule) in text and title(rule) not in needed}:
        needed |= found
        text = json.dumps([rule["expr"] for _, rule in rules() if title(rule) in found])
    return needed


def _multiplied(test: dict[str, Any], candidates: Sequence[Mutant]) -> dict[str, Any]:
    """A test of a rule as one of all its mutants; the texts are no part of them."""
    multiplied = {**test, "input_series": list(test["input_series"]), "promql_expr_test": []}
    multiplied.pop("alert_rule_test", None)
    for key in ("input_series", "promql_expr_test"):
        texts = [json.dumps(each) for each in test.get(key, ())]
        for mutant in candidates:
            multiplied[key] += [json.loads(new) for text in texts if (new := mutant.renamed(text)) != text]
    return multiplied


def _names(candidates: Sequence[Mutant]) -> set[str]:
    return {name for each in candidates for name in each.names}
