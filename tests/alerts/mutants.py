"""Mutants of the rules: each changes one number, duration, comparison, set operator or label of a rule."""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from alerts.rules import ALERTS, load_groups

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
_WORKLOAD = {"cluster", "namespace", "job"}  # test_rules.py: every join and every aggregation has them
ADD_OWNER = " * on (cluster, namespace, job, check) group_left (owner) check:health_check_troubled:owner"
"""How an alert adds the owner. No mutant changes it; test_rules.py tests that all alerts have it."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Mutant:
    """A rule with one change, and the rules that depend on it, renamed so that they do not clash."""

    name: str
    number: int
    names: tuple[str, ...]
    rules: tuple[Rule, ...]

    def rename(self, text: str) -> str:
        """Replace the names of the rules by those of this mutant."""
        return re.sub(rf"(?<![\w:])({'|'.join(self.names)})(?![\w:])", rf"\1_{self.number}", text)


def _load(path: Path) -> Any:
    return yaml.load(path.read_text(), yaml.CSafeLoader)


@cache
def load_rules() -> tuple[tuple[str, Rule], ...]:
    """Load every rule, with the name of its file."""
    return tuple((file, rule) for file, group in load_groups() for rule in group["rules"])


@cache
def _load_without_owners() -> tuple[Rule, ...]:
    """Load every rule; an alert that only adds the owner to a record has the expression of the record."""
    rules = [rule for _, rule in load_rules()]
    records = {rule["record"]: rule["expr"] for rule in rules if "record" in rule}
    conditions = [str(rule["expr"]).removesuffix(ADD_OWNER) for rule in rules]
    return tuple(
        {**rule, "expr": records[condition]} if condition != rule["expr"] else rule
        for rule, condition in zip(rules, conditions, strict=True)
    )


def get_name(rule: Rule) -> str:
    """Return the name of the alert or of the record."""
    return str(rule.get("alert") or rule["record"])


def get_unit(rule: Rule) -> str:
    """Return the unit that a rule is tested in: the alerts of one name, or all recording rules."""
    return str(rule.get("alert", "records"))


def find_interval(rule: Rule) -> str | None:
    """Return the interval of the group that a rule, or the rule that it is a mutant of, belongs to."""
    names = ((get_name(other), group) for _, group in load_groups() for other in group["rules"])
    return next((group.get("interval") for name, group in names if name == get_name(rule)), None)


def find_test_files(unit: str) -> list[Path]:
    """Find the test files of a unit."""
    return sorted((ALERTS / "tests").glob(f"{unit}.*test.yml"))


def parse_duration(duration: str) -> int:
    """Convert a duration of a rule to seconds."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


def change(rule: Rule) -> Iterator[tuple[str, Rule]]:
    """Yield every single change of a rule: its description and the changed rule."""
    for key in ("for", "keep_firing_for"):
        if key in rule:
            for changed in _vary_duration(rule[key]):
                yield f"{key}: {rule[key]} -> {changed}", {**rule, key: changed}
    expr = str(rule["expr"])
    for place, token in enumerate(_TOKEN.finditer(expr)):
        for changed in _vary(token):
            mutated = expr[: token.start()] + changed + expr[token.end() :]
            yield f"expr, word {place}: {token.group()} -> {changed}", {**rule, "expr": mutated}


def _vary(token: re.Match[str]) -> Iterator[str]:
    """Yield the replacements of a token."""
    found = token.groupdict()
    if found["window"]:
        yield from (f"[{window}]" for window in _vary_duration(found["window"]))
    elif found["clause"]:
        labels = [label.strip() for label in found["labels"].split(",") if label.strip()]
        for removed in (label for label in labels if label not in _WORKLOAD):
            yield f"{found['clause']} ({', '.join(label for label in labels if label != removed)})"
    elif found["set"]:
        yield from _SETS[found["set"]]
    elif found["number"]:
        yield from _vary_number(float(found["number"]))
    elif found["comparison"]:
        yield from _COMPARISONS[found["comparison"]]


def _vary_duration(duration: str) -> tuple[str, str]:
    return f"{parse_duration(duration) // 2}s", f"{parse_duration(duration) * 2}s"


def _vary_number(number: float) -> tuple[str, ...]:
    if number == 0:
        return ("1",)
    if number < 10 and number.is_integer():
        return f"{number - 1:g}", f"{number + 1:g}"
    return (f"{number * 0.9:g}",) if 1 > number > 0.95 else (f"{number * 0.9:g}", f"{number * 1.1:g}")


def make_mutants(unit: str) -> list[Mutant]:
    """Make every mutant of the rules of a unit."""
    rules = list(_load_without_owners())
    count: Counter[str] = Counter()
    mutants: list[Mutant] = []
    for rule in rules:
        if get_unit(rule) != unit:
            continue
        count[get_name(rule)] += 1
        names = _find_dependents(rule, rules)
        for description, changed in change(rule):
            name = f"{get_name(rule)} {count[get_name(rule)]}: {description}"
            affected = [changed if other is rule else other for other in rules if get_name(other) in names]
            mutants.append(Mutant(name, len(mutants), names, tuple(affected)))
    return mutants


def _find_dependents(rule: Rule, rules: list[Rule]) -> tuple[str, ...]:
    """Return the names of this rule and of the recording rules that depend on it."""
    names = [get_name(rule)]
    for other in rules:
        if "record" in other and any(name in other["expr"] for name in names) and get_name(other) not in names:
            names.append(get_name(other))
    return tuple(names)


def find_survivors(candidates: Sequence[Mutant], test: Path, folder: Path, promtool: str) -> list[Mutant]:
    """Find the mutants that pass a test file. One run tests all of them, because starting promtool takes longest."""
    survivors = list(candidates)
    while survivors:
        output = _run(survivors, test, folder, promtool)
        if output is None:
            return survivors
        caught = {int(number) for number in re.findall(rf"(?:{'|'.join(_collect_names(survivors))})_(\d+)\b", output)}
        rest = [mutant for mutant in survivors if mutant.number not in caught]
        assert len(rest) < len(survivors), output
        assert "parse error" not in output, output
        survivors = rest
    return []


def _run(candidates: Sequence[Mutant], test: Path, folder: Path, promtool: str) -> str | None:
    """Run promtool; return its output, or None if all mutants pass. An invalid mutant also ends the other tests."""
    content = _load(test)
    content["rule_files"] = [str(folder / "rules.yml")]
    content.pop("group_eval_order", None)  # all rules are in one group
    content["tests"] = [_multiply(case, candidates) for case in content["tests"]]
    needed = _find_needed(json.dumps([case.get("promql_expr_test") for case in _load(test)["tests"]]))
    rules = [rule for rule in _load_without_owners() if get_name(rule) in needed and "record" in rule]
    for mutant in candidates:
        chosen = (rule for rule in mutant.rules if get_name(rule) in needed)
        rules += [json.loads(mutant.rename(json.dumps({**rule, "annotations": {}}))) for rule in chosen]
    interval = find_interval(candidates[0].rules[0])
    group = {"name": "mutants", "rules": rules, **({"interval": interval} if interval else {})}
    (folder / "rules.yml").write_text(json.dumps({"groups": [group]}))
    (folder / "test.yml").write_text(json.dumps(content))
    done = subprocess.run(
        [promtool, "test", "rules", str(folder / "test.yml")], capture_output=True, text=True, check=False
    )
    return None if done.returncode == 0 else done.stdout + done.stderr


def _find_needed(text: str) -> set[str]:
    """Return the names of the rules in the text of a test, and of the recording rules that these depend on."""
    needed: set[str] = set()
    while names := {get_name(rule) for rule in _load_without_owners() if get_name(rule) in text} - needed:
        needed |= names
        text = json.dumps([rule["expr"] for rule in _load_without_owners() if get_name(rule) in names])
    return needed


def _multiply(case: dict[str, Any], candidates: Sequence[Mutant]) -> dict[str, Any]:
    """Repeat the test case of a rule for all its mutants, without the test of the annotations."""
    multiplied = {**case, "input_series": list(case["input_series"]), "promql_expr_test": []}
    multiplied.pop("alert_rule_test", None)
    for key in ("input_series", "promql_expr_test"):
        texts = [json.dumps(entry) for entry in case.get(key, ())]
        for mutant in candidates:
            multiplied[key] += [json.loads(new) for text in texts if (new := mutant.rename(text)) != text]
    return multiplied


def _collect_names(candidates: Sequence[Mutant]) -> set[str]:
    return {name for mutant in candidates for name in mutant.names}
