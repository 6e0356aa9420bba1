"""One incident, one message: what each incident of incidents.py sends through the example Alertmanager, word by word.

To accept new messages after a change of the rules, run `python -m alerts.test_incidents` in tests/.
"""

import re
import sys
from pathlib import Path

import pytest
from alerts.batches import find_alerts_of, make_batches
from alerts.incidents import INCIDENTS
from alerts.notifier import Message, Notifier, write_messages
from alerts.rules import ALERTS
from alerts.timeline import Firing, list_groups
from support import command

FOLDER = Path(__file__).parent / "incidents"
EXAMPLE = ALERTS / "alertmanager.example.yml"
PERCENTAGE = re.compile(r"[\d.]+(?= %)")
ENTANGLED = (
    "application_gone",
    "configuration_with_a_typo",
    "database_down_and_then_the_exporters",
    "many_short_outages",
    "node_lost_and_a_workload_down_elsewhere",
    "node_overloaded",
    "one_of_three_replicas_restarted_by_liveness",
    "slow_start_in_a_rollout",
)
"""The incidents in which alerts read the records of several groups, or are silent because of another alert."""


BATCHES = make_batches(INCIDENTS)
ENTANGLED_BATCHES = make_batches(ENTANGLED)


def send(timeline: list[Firing], config: Path = EXAMPLE) -> list[Message]:
    """Return the messages about the alerts of an incident."""
    return list(Notifier(config).replay(timeline))


def count(messages: list[Message]) -> tuple[int, int]:
    """Return the numbers of new pages and of new tickets."""
    new = [message.receiver for message in messages if message.firing]
    return new.count("page"), new.count("ticket")


def write(name: str, messages: list[Message]) -> str:
    """Return the golden text of an incident: its messages below its description."""
    text = " ".join((INCIDENTS[name].__doc__ or name.replace("_", " ").capitalize() + ".").split())
    return f"# {text}\n{write_messages(messages)}"


@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_sends_exactly_these_messages(name, tmp_path):
    incident = INCIDENTS[name]()
    timeline = find_alerts_of(name, BATCHES, command("promtool"))
    messages = send(timeline)
    text, golden = write(name, messages), (FOLDER / f"{name}.txt").read_text()

    assert PERCENTAGE.sub("N", text) == PERCENTAGE.sub("N", golden)
    # A range over recorded samples has one more in Prometheus 2: the one at its very start.
    percentages = [float(number) for number in PERCENTAGE.findall(golden)]
    assert [float(number) for number in PERCENTAGE.findall(text)] == pytest.approx(percentages, rel=0.005)
    assert count(messages) == (incident.pages, incident.tickets)
    # No alert is left alone at the end, when Alertmanager might just send the next message.
    eager = tmp_path / "eager.yml"
    eager.write_text(EXAMPLE.read_text().replace("group_interval: 5m", "group_interval: 15s"))
    assert count(send(timeline, eager)) == (incident.pages, incident.tickets)


@pytest.mark.parametrize("name", ENTANGLED)
def test_an_incident_sends_as_many_messages_when_every_group_reads_older_records(name):
    """Groups run side by side. In the reversed order, each reads what the others recorded an interval ago."""
    incident = INCIDENTS[name]()
    messages = send(find_alerts_of(name, ENTANGLED_BATCHES, command("promtool"), tuple(list_groups()[::-1])))

    assert count(messages) == (incident.pages, incident.tickets), write(name, messages)


def test_every_golden_text_belongs_to_an_incident():
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == sorted(INCIDENTS)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or INCIDENTS:
        messages = send(find_alerts_of(chosen, BATCHES, command("promtool")))
        (FOLDER / f"{chosen}.txt").write_text(write(chosen, messages))
