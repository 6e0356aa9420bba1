"""What a history says about runs and about the time it covers, and which of it is missing."""

from dataclasses import replace

from make import FAIL, PASS, check, in_groups, result
from support import Clock

from exporter.evaluation.answered import AnswerLog
from exporter.evaluation.entries import decode, encode
from exporter.evaluation.history import Event, Recorded
from exporter.evaluation.store import Store
from exporter.model import Group, Status
from exporter.replay.recording import read
from exporter.replay.trace import find_down, trace_all

WALL = 1_000_000


class Past:
    """A Store that writes its history, as an exporter does."""

    def __init__(self, clock: Clock | None = None, first: int = 0) -> None:
        self.clock = clock or Clock()
        self.entries = []
        self.store = Store(self.clock, lambda: WALL + self.clock.now, first)
        self.store.history.sink = self.entries.append

    def start(self, **options) -> None:
        self.store.note(Event.STARTED)
        self.load(**options)

    def load(self, **options) -> None:
        name = options.pop("name", "api")
        given = {"groups": in_groups(Group.READINESS), "failure_threshold": 2, "stale_after": 25.0, **options}
        (self.check,) = self.store.configure([check(name, **given)])

    def run(self, *outcomes, every: float = 10) -> None:
        for outcome in outcomes:
            self.store.record(self.check, result(outcome, at=self.clock.advance(every)))
            self.store.snapshot()


def reread(entries):
    return read([*decode([encode(entry) for entry in entries])])


def down(recording, life=0):
    """When the check of this life makes readiness false, certainly and possibly; times on the monotonic clock."""
    life = recording.lives[life]
    span = find_down(life, trace_all(life, life.spec), Group.READINESS)
    return tuple([(begin - WALL, end - WALL) for begin, end in windows] for windows in (span.certain, span.possible))


def test_a_hold_is_no_gap_and_the_table_is_without_it():
    past = Past()
    past.start()
    past.store.hold(15, "debugging")
    past.run(PASS, FAIL, FAIL)
    past.store.release()
    past.run(PASS)

    recording = reread(past.entries)
    assert recording.covered == ((WALL + 1000, WALL + 1040),)
    assert recording.remarks == (
        "Restarts were suspended for some of this time (hold). The table shows what had happened without a hold.",
    )
    assert reread(past.entries[-3:]).remarks == ()


def test_a_clock_that_is_set_forward_adds_no_time():
    past = Past()
    past.start()
    past.run(PASS, FAIL)
    lines = [encode(entry) for entry in past.entries]
    past.entries.clear()
    past.run(FAIL, FAIL, PASS)
    year = 365 * 86400
    later = [
        replace(entry, result=replace(entry.result, started=entry.result.started + year))
        for entry in past.entries
        if isinstance(entry, Recorded)
    ]

    recording = read([*decode([*lines, *map(encode, later)])])
    assert recording.covered == ((WALL + 1000, WALL + 1020), (WALL + year + 1030, WALL + year + 1050))
    assert recording.remarks[-1] == "The clock was set forward, or the machine was suspended. That time is left out."


def test_a_check_is_pending_then_follows_its_runs():
    past = Past()
    past.start()
    past.run(PASS, FAIL, FAIL, PASS)

    recording = reread(past.entries)
    assert recording.covered == ((WALL + 1000, WALL + 1040),)
    assert down(recording) == ([(1000, 1010), (1030, 1040)],) * 2
    assert recording.remarks == ()


def test_a_status_goes_stale_when_its_time_has_come():
    past = Past()
    past.start()
    past.run(PASS, PASS)
    past.clock.advance(40)
    past.store.snapshot()
    past.run(PASS)

    assert down(reread(past.entries))[0] == [(1000, 1010), (1045.5, 1070)]


def test_a_reload_ends_a_life_only_if_it_changes_the_check():
    past = Past()
    past.start()
    past.run(PASS)
    past.load()
    past.run(FAIL)
    past.load(failure_threshold=5)
    past.run(PASS)

    lives = reread(past.entries).lives
    assert [(life.begin - WALL, life.end - WALL, life.spec.failure_threshold) for life in lives] == [
        (1000, 1020, 2),
        (1020, 1030, 5),
    ]
    assert [len(life.readings[0]) for life in lives] == [2, 1]


def test_a_check_that_was_removed_has_no_life_anymore():
    past = Past()
    past.start()
    past.run(PASS)
    past.store.configure([])
    past.clock.advance(50)
    past.store.drain()

    recording = reread(past.entries)
    assert [(life.begin - WALL, life.end - WALL) for life in recording.lives] == [(1000, 1010)]
    assert recording.covered == ((WALL + 1000, WALL + 1060),)


def test_the_time_without_an_exporter_is_not_covered():
    past = Past()
    past.start()
    past.run(PASS)
    past.clock.advance(5)
    past.store.note(Event.STOPPED)
    past.clock.advance(100)
    later = Past(past.clock, first=2)
    later.start()
    later.run(PASS)

    recording = reread([*past.entries, *later.entries])
    assert recording.covered == ((WALL + 1000, WALL + 1015), (WALL + 1115, WALL + 1125))
    assert down(recording, life=1)[0] == [(1115, 1125)]


def test_the_first_line_of_a_file_is_older_than_the_entries_that_it_includes():
    """A checkpoint at the begin of a file has counted runs that still waited to be written."""
    past = Past()
    past.start()
    past.run(PASS, FAIL)
    checkpoint = past.store.make_checkpoint()
    past.run(FAIL, PASS)
    begin = next(number for number, entry in enumerate(past.entries) if isinstance(entry, Recorded))

    recording = reread([checkpoint, *past.entries[begin + 1 :]])
    assert [len(life.readings[0]) for life in recording.lives] == [2]
    assert down(recording) == ([(1030, 1040)], [(1030, 1040)])
    # With the start of the process after it, nothing is adopted: all of it follows.
    whole = reread([checkpoint, *past.entries])
    assert [len(life.readings[0]) for life in whole.lives] == [4]
    assert whole.covered[0][0] == WALL + 1000


def test_a_checkpoint_at_the_begin_of_another_file_changes_nothing():
    past = Past()
    past.start()
    past.run(PASS, FAIL)
    whole = [*past.entries, past.store.make_checkpoint()]
    past.run(FAIL)
    whole.append(past.entries[-2])

    assert [entry.generation for entry in past.entries] == sorted(entry.generation for entry in past.entries)
    assert down(reread([*whole, past.entries[-1]])) == down(reread(past.entries))


def test_entries_that_are_missing_are_noticed_and_leave_a_gap():
    """Whatever the cause: nothing is known of that time, nor of the status until the next healthy run."""
    past = Past()
    past.start(failure_threshold=3)
    past.run(PASS, FAIL, FAIL, FAIL, PASS, PASS)
    runs = [entry for entry in past.entries if isinstance(entry, Recorded)]
    entries = [entry for entry in past.entries if entry not in (runs[1], runs[2])]

    recording = reread(entries)
    assert "2 entries of the history are missing" in recording.remarks[0]
    assert recording.covered == ((WALL + 1000, WALL + 1010), (WALL + 1040, WALL + 1060))
    assert down(recording, life=1) == ([], [(1040, 1050)])


def test_a_state_at_the_begin_is_known_if_its_streak_is_long_enough():
    past = Past()
    past.start(failure_threshold=2)
    past.run(PASS, FAIL, FAIL, FAIL)
    recording = reread([past.store.make_checkpoint(), *_later(past, FAIL, FAIL, PASS)])
    (life,) = recording.lives

    def with_threshold(number):
        spec = type(life.spec)(**{**_fields(life.spec), "failure_threshold": number})
        return [[state.status for _, state in trace] for trace in trace_all(life, spec)]

    assert with_threshold(2) == with_threshold(3) == [[Status.FAIL, Status.PASS]]
    assert with_threshold(5) == [[Status.PASS], [Status.FAIL, Status.PASS]]  # the best and the worst case


def _later(past, *outcomes):
    before = len(past.entries)
    past.run(*outcomes)
    return past.entries[before:]


def _fields(spec):
    return {name: getattr(spec, name) for name in type(spec).__dataclass_fields__}


def test_draining_and_a_missing_configuration_are_known():
    past = Past()
    past.store.note(Event.STARTED)
    past.store.degrade()
    past.clock.advance(5)
    past.load()
    past.run(PASS)
    past.store.drain()
    past.clock.advance(3)
    past.store.note(Event.STOPPED)

    recording = reread(past.entries)
    assert recording.degraded == ((WALL + 1000, WALL + 1005),)
    assert recording.draining == ((WALL + 1015, WALL + 1018),)


def test_only_responses_to_the_kubelet_count_and_their_latest_entry():
    past, answers = Past(), AnswerLog(lambda: WALL + 1000.0)
    past.start()
    for kubelet in (True, False, True):
        answers.note("/livez", 503, ["api"], 1, kubelet=kubelet)
    grown = answers.entries()
    answers.note("/livez", 503, ["api"], 1, kubelet=True)

    answered = reread([*past.entries, *grown, *answers.entries()]).answered
    assert [(entry.kubelet, entry.count) for entry in answered] == [(True, 3)]
