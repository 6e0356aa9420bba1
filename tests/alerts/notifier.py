"""Which messages Alertmanager sends: a model of its grouping, inhibition and waiting, and of Prometheus' sending.

Source: dispatch/dispatch.go, inhibit/inhibit.go and notify/notify.go of Alertmanager 0.25, and needsSending in
rules/alerting.go of Prometheus 2.42. Of the configuration, only what the example uses is known.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from alerts.pods import STEP
from alerts.timeline import Firing

RESEND = 60  # seconds; Prometheus sends a firing alert again after more than this
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MATCHER = re.compile(r"\s*(\w+)\s*(=~|!~|!=|=)\s*\"?([^\"]*)\"?\s*")

Labels = Mapping[str, str]


def parse_duration(text: str) -> int:
    """Convert a duration to seconds."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))


def matches(matchers: list[str], labels: Labels) -> bool:
    """Return whether the labels match all these matchers."""
    return all(_match(matcher, labels) for matcher in matchers)


def _match(matcher: str, labels: Labels) -> bool:
    parsed = _MATCHER.fullmatch(matcher)
    assert parsed, matcher
    name, operator, value = parsed.groups()
    found = labels.get(name, "")
    equal = re.fullmatch(value, found) is not None if "~" in operator else found == value
    return equal == (not operator.startswith("!"))


@dataclass(frozen=True)
class Message:
    """A notification: when, to which receiver, and the alerts with labels and annotations."""

    time: int
    receiver: str
    firing: tuple[tuple[Labels, Labels], ...]
    resolved: tuple[tuple[Labels, Labels], ...]


@dataclass
class _Alert:
    labels: Labels
    annotations: Labels
    sent: int
    firing: bool = True


@dataclass
class _Group:
    receiver: str
    interval: int
    repeat: int
    due: int
    alerts: dict[str, _Alert] = field(default_factory=dict)


@dataclass
class _Log:
    time: int
    firing: frozenset[str]
    resolved: frozenset[str]


class Notifier:
    """Alertmanager with a configuration file."""

    def __init__(self, path: Path) -> None:
        config = yaml.safe_load(path.read_text())
        self._route = config["route"]
        self._inhibitions = config["inhibit_rules"]
        self._silent = {receiver["name"] for receiver in config["receivers"] if len(receiver) == 1}
        self._alerts: dict[str, _Alert] = {}
        self._groups: dict[tuple[Any, ...], _Group] = {}
        self._log: dict[tuple[Any, ...], _Log] = {}

    def replay(self, timeline: list[Firing]) -> Iterator[Message]:
        """Yield the messages about alerts that fire as in the timeline, which has one entry per step."""
        for step, firing in enumerate(timeline):
            yield from self._flush_until(step * STEP)
            self._receive(step * STEP, firing)
        yield from self._flush_until(len(timeline) * STEP)

    def _receive(self, now: int, firing: Firing) -> None:
        for key, (labels, annotations) in firing.items():
            known = self._alerts.get(key)
            if known is None or not known.firing:
                self._dispatch(now, key, _Alert(labels, annotations, now))
            elif known.sent + RESEND < now:
                known.annotations, known.sent = annotations, now
        for key in self._alerts.keys() - firing.keys():
            self._alerts[key].firing = False

    def _dispatch(self, now: int, key: str, alert: _Alert) -> None:
        self._alerts[key] = alert
        route = self._find_route(alert.labels)
        place = (route["receiver"], *((name, alert.labels.get(name, "")) for name in route["group_by"]))
        if place not in self._groups:
            names = ("group_wait", "group_interval", "repeat_interval")
            wait, interval, repeat = (parse_duration(route[name]) for name in names)
            self._groups[place] = _Group(route["receiver"], interval, repeat, now + wait)
        self._groups[place].alerts[key] = alert

    def _find_route(self, labels: Labels) -> dict[str, Any]:
        for child in self._route["routes"]:
            if matches(child["matchers"], labels):
                return {**self._route, **child}
        return dict(self._route)

    def _flush_until(self, now: int) -> Iterator[Message]:
        while due := sorted((group.due, place) for place, group in self._groups.items() if group.due <= now):
            time, place = due[0]
            group = self._groups[place]
            group.due += group.interval
            yield from self._flush(time, place, group)
            if not group.alerts:
                del self._groups[place]

    def _flush(self, now: int, place: tuple[Any, ...], group: _Group) -> Iterator[Message]:
        shown = {key: alert for key, alert in group.alerts.items() if not self._is_inhibited(key, alert)}
        firing = frozenset(key for key, alert in shown.items() if alert.firing)
        resolved = frozenset(shown) - firing
        if shown and self._needs_update(now, self._log.get(place), firing, resolved, group.repeat):
            self._log[place] = _Log(now, firing, resolved)
            parts = (
                tuple((shown[key].labels, shown[key].annotations) for key in sorted(keys))
                for keys in (firing, resolved)
            )
            if group.receiver not in self._silent:
                yield Message(now, group.receiver, *parts)
        for key in [key for key, alert in group.alerts.items() if not alert.firing]:
            del group.alerts[key]
            del self._alerts[key]

    @staticmethod
    def _needs_update(
        now: int, entry: _Log | None, firing: frozenset[str], resolved: frozenset[str], repeat: int
    ) -> bool:
        if entry is None:
            return bool(firing)
        if not firing <= entry.firing:
            return True
        if not firing:
            return bool(entry.firing)
        return not resolved <= entry.resolved or entry.time < now - repeat

    def _is_inhibited(self, key: str, alert: _Alert) -> bool:
        return any(
            matches(rule["target_matchers"], alert.labels)
            and any(
                other != key and source.firing and _inhibits(rule, source.labels, alert.labels)
                for other, source in self._alerts.items()
            )
            for rule in self._inhibitions
        )


def _inhibits(rule: dict[str, Any], source: Labels, target: Labels) -> bool:
    """Return whether the source inhibits the target. Two alerts that match both sides do not inhibit each other."""
    if not matches(rule["source_matchers"], source):
        return False
    both = matches(rule["source_matchers"], target) and matches(rule["target_matchers"], source)
    return not both and all(source.get(name, "") == target.get(name, "") for name in rule["equal"])


def write_messages(messages: list[Message]) -> str:
    """Return the messages as text, with the time in minutes and seconds."""
    lines = []
    for message in messages:
        lines.append(f"{message.time // 60}:{message.time % 60:02} {message.receiver}")
        for state, alerts in (("FIRING", message.firing), ("RESOLVED", message.resolved)):
            for labels, annotations in alerts:
                names = " ".join(f"{name}={value}" for name, value in sorted(labels.items()) if name != "alertname")
                lines.append(f"  {state} {labels['alertname']} {names}")
                if state == "FIRING":
                    lines += [f"    {annotations['summary']}", f"    {annotations['description']}"]
    return "\n".join(lines) + "\n" if lines else "no message\n"
