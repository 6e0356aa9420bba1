"""The story says nothing that has not happened: every number and time in it is compared with what a test has done."""

import re
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from make import LETTERS, check, in_groups
from render.story.theatre import BEGIN, Theatre

from exporter.evaluation.history import Event
from exporter.evaluation.hold import HoldError
from exporter.evaluation.judge import judge
from exporter.model import Group, Result, Status
from exporter.render.story.story import write

NAMES = ("api", "db")
PATHS = ("/livez", "/readyz", "/startupz")
RUNS = st.tuples(
    st.just("run"), st.sampled_from(NAMES), st.text("PPFFFUW", min_size=1, max_size=5), st.sampled_from([0, 9])
)
ASKS = st.tuples(st.just("ask"), st.sampled_from(PATHS), st.booleans(), st.integers(1, 3))
OTHERS = st.sampled_from(
    [
        ("wait", 5),
        ("wait", 45),
        ("wait", 900),
        ("ask", "/livez", True, 3),
        ("reload", 1),
        ("reload", 2),
        ("restart",),
        ("drain",),
        ("hold", 30),
        ("hold", 1000),
        ("release",),
    ]
)
STEPS = st.lists(st.one_of(RUNS, ASKS, RUNS, ASKS, OTHERS), min_size=5, max_size=30)


class Witness:
    """Does things to an exporter, and writes down each single one of them."""

    def __init__(self):
        self.theatre = Theatre()
        self.moments = {BEGIN}
        self.asked = []  # seconds in which the kubelet asked for /livez
        self.starting = []  # seconds in which it asked for /startupz
        self.refused = []  # (second, path, kubelet)
        self.changes = []  # (second, check, before, after)
        self.runs = []  # (second of the start, check, status)
        self.down = []  # (second, groups that are down)
        self.statuses = {}
        self.theatre.store.note(Event.STARTED, "version 1 on web-7d9c")
        self.reload(2)

    def second(self):
        return int(self.theatre.wall())

    def look(self):
        """Write down what has changed."""
        snapshot = self.theatre.store.snapshot()
        self.moments.add(self.second())
        self.down.append((self.second(), {group for group in Group if not judge(snapshot, group).up}))
        for name, state in snapshot.states.items():
            if self.statuses.get(name, state.status) is not state.status:
                self.changes.append((self.second(), name, self.statuses[name], state.status))
            self.statuses[name] = state.status

    def run(self, name, letters, pause):
        for letter in letters:
            started = self.theatre.wall()
            self.runs.append((int(started), name, LETTERS[letter].status))
            self.theatre.clock.advance(1)
            result = Result(LETTERS[letter], started, self.theatre.clock.now, 1.0)
            self.moments.add(int(started))
            self.theatre.store.record(self.checks[name], result)
            self.look()
            self.wait(pause)

    def ask(self, path, kubelet, times):
        for _ in range(times):
            if kubelet and path != "/readyz":
                (self.asked if path == "/livez" else self.starting).append(self.second())
            if not self.theatre.ask(path, kubelet=kubelet):
                self.refused.append((self.second(), path, kubelet))
            self.look()
            self.wait(3)

    def wait(self, seconds):
        self.theatre.clock.advance(seconds)
        self.look()

    def reload(self, threshold):
        wanted = [
            check("api", failure_threshold=threshold, groups=in_groups(Group.LIVENESS, Group.READINESS), owner="shop"),
            check("db", failure_threshold=3, success_threshold=2, groups=in_groups(Group.READINESS, Group.STARTUP)),
        ]
        self.checks = {one.spec.name: one for one in self.theatre.store.configure(wanted)}
        self.statuses = {}
        self.look()

    def restart(self):
        """A new exporter with the history of the one before, as with --history.file."""
        before = self.theatre
        self.theatre = Theatre()
        self.theatre.clock.now, self.theatre.shift = before.clock.now + 1, before.shift
        self.theatre.store.note(Event.STARTED, "version 1 on web-7d9c, worker restart 1")
        self.theatre.store.restore(before.store.history)
        self.theatre.answers.restore(before.answers.entries())
        self.reload(2)

    def jump(self, seconds):
        self.theatre.shift += seconds
        self.look()

    def drain(self):
        self.theatre.store.drain()
        self.look()

    def hold(self, seconds):
        with suppress(HoldError):  # too many extensions
            self.theatre.store.hold(seconds, "debugging")
        self.look()

    def release(self):
        self.theatre.store.release()
        self.look()


def play(steps):
    witness = Witness()
    for step, *arguments in steps:
        getattr(witness, step)(*arguments)
    return witness


def read(story):
    """The sentences of a story that has no line ends within them, with the second that each begins with."""
    day = ""
    for line in story.splitlines():
        if match := re.match(r"(\S{10}) \S{8} UTC\b", line):
            day = match[1]
        elif match := re.match(r"  (\d\d:\d\d:\d\d)  (.*)", line):
            yield parse(match[1], day), match[2], day


def parse(text, day="2026-03-01"):
    text = text if " " in text else f"{day} {text}"
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp())


@settings(max_examples=25)
@given(STEPS)
def test_every_number_is_that_of_what_has_happened(steps):
    witness = play(steps)
    story = write(witness.theatre.chronicle(), BEGIN, 10**6)
    sentences = [*read(story)]

    assert find_times(story) <= witness.moments, story
    compare_owners(story)
    received = Counter()
    for second, text, day in sentences:
        compare_refusals(witness, received, second, text, day)
        compare_failure(witness, second, text, day)
        compare_recovery(witness, second, text)
        compare_pause(witness, second, text, day)
    if "more" not in story and "left off" not in story:
        given = Counter((path, kubelet) for _, path, kubelet in witness.refused)
        assert received == given, story


JUMPS = st.tuples(st.just("jump"), st.sampled_from([-7200, -3, 7200]))


@settings(max_examples=25)
@given(st.lists(st.one_of(RUNS, ASKS, OTHERS, JUMPS), max_size=30))
def test_a_story_has_no_other_times_if_the_wall_clock_jumps(steps):
    witness = play(steps)
    story = write(witness.theatre.chronicle(), BEGIN, 10**6)

    assert {time % 86_400 for time in find_times(story)} <= {time % 86_400 for time in witness.moments}, story


def find_times(story):
    return {parse(text) for text in re.findall(r"(?:\d{4}-\d\d-\d\d )?\b\d\d:\d\d:\d\d\b", story)}


def compare_owners(story):
    """Each incident in which `api` failed has its owner once. `db` has none."""
    for paragraph in story.split("\n\n"):
        title, *lines = paragraph.splitlines()
        failed = re.search(r"\bapi (?:and db )?failed|\bdb and api failed", title) is not None
        owners = [line.strip() for line in lines if "Owner" in line]
        assert owners == ["api: Owner: shop."] * failed, story


def compare_refusals(witness, received, second, text, day):
    match = re.match(r"([\w ]+) received 503 from (\S+) because .*?: (once|(\d+) times until (\S+?))[.,]", text)
    if match:
        kubelet, path = match[1] == "The kubelet", match[2]
        number, last = int(match[4] or 1), parse(match[5], day) if match[5] else second
        given = [when for when, *who in witness.refused if who == [path, kubelet] and second <= when <= last]
        assert (len(given), given[0], given[-1]) == (number, second, last), text
        received[path, kubelet] += number


def compare_failure(witness, second, text, day):
    match = re.match(r"(\w+) failed .*?(One failed run|(\d+) runs in a row had failed(?: since (\S+))?)", text)
    if match:
        assert any(change[:2] == (second, match[1]) and change[3] is Status.FAIL for change in witness.changes), text
        streak = int(match[3] or 1)
        runs = [(when, status) for when, name, status in witness.runs if name == match[1] and when < second]
        definitive = [(when, status) for when, status in runs if status is not Status.UNKNOWN][-streak:]
        assert {status for _, status in definitive} == {Status.FAIL}, text
        assert len(definitive) == streak
        assert not match[4] or parse(match[4], day) == definitive[0][0], text
    if groups := re.search(r"As a result, ([\w, ]+) failed\.", text):
        names = {Group(name) for name in re.split(", | and ", groups[1])}
        assert any(names <= down for when, down in witness.down if when == second), text


def compare_recovery(witness, second, text):
    match = re.match(r"(\w+) (?:passed again|recovered to warn)", text)
    if match:
        changes = [change for change in witness.changes if change[1] == match[1] and change[0] <= second]
        assert changes[-1][0] == second, text
        assert changes[-1][3].healthy, text
    if match and (number := re.search(r"(\d+) runs? failed in total", text)):
        failed = max(when for when, _, _, after in changes if after is Status.FAIL)
        runs = [(when, status) for when, name, status in witness.runs if name == match[1] and when < second]
        begin = max((when for when, status in runs if status.healthy and when < failed), default=0)
        assert int(number[1]) == sum(status is Status.FAIL for when, status in runs if when > begin), text


def compare_pause(witness, second, text, day):
    if "did not request /livez again" in text:
        assert max(witness.asked) == second, text
    if match := re.search(r"restarted .*between (\S+) and (\S+): the kubelet did not", text):
        begin, end = parse(match[1], day), parse(match[2], day)
        assert {begin, end} <= set(witness.asked), text
        assert not [when for when in witness.asked if begin < when < end], text
    if match := re.search(r"restarted .*between (\S+) and (\S+): the kubelet requested", text):
        last, begun = parse(match[1], day), parse(match[2], day)
        assert (last, "/livez", True) in witness.refused, text
        assert begun == min(when for when in witness.starting if when > last), text
        assert not [when for when in witness.asked if last < when < begun], text
