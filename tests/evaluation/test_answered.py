"""Answers of 503: those in a row are one entry, and their number is limited."""

from support import Clock

from exporter.evaluation.answered import MAX_ANSWERED, MAX_BECAUSE, MAX_OPEN, AnswerLog


def answer(log, status=503, because=("api (connect)",), path="/readyz", kubelet=False, generation=7):
    log.note(path, status, because, generation, kubelet=kubelet)


def noted(log):
    return [(entry.path, entry.kubelet, entry.because, entry.count) for entry in log.entries()]


def test_answers_in_a_row_with_the_same_reasons_are_one_entry():
    clock = Clock()
    log = AnswerLog(clock)
    for generation in (7, 8, 9):
        answer(log, generation=generation)
        clock.advance(10)
    (entry,) = log.entries()

    assert (entry.path, entry.because, entry.count) == ("/readyz", ("api (connect)",), 3)
    assert (entry.first, entry.last, entry.generation) == (1000.0, 1020.0, 7)


def test_other_reasons_begin_an_entry():
    log = AnswerLog()
    answer(log)
    answer(log, because=("api (timeout)",))

    assert [entry[2:] for entry in noted(log)] == [(("api (connect)",), 1), (("api (timeout)",), 1)]


def test_an_answer_of_200_ends_an_entry():
    log = AnswerLog()
    for status in (200, 503, 200, 200, 503, 503):
        answer(log, status)

    assert [entry.count for entry in log.entries()] == [1, 2]


def test_the_kubelet_and_other_clients_have_entries_of_their_own():
    log = AnswerLog()
    answer(log, kubelet=True)
    answer(log)
    answer(log, 200)
    answer(log, kubelet=True)

    assert [entry[1::2] for entry in noted(log)] == [(False, 1), (True, 2)]


def test_the_number_of_entries_and_of_reasons_is_limited():
    log = AnswerLog()
    for number in range(MAX_ANSWERED + MAX_OPEN + 10):
        answer(log, path=f"/readyz/{number}", because=[f"c{index} (dns)" for index in range(MAX_BECAUSE + 1)])

    assert len(log.entries()) == MAX_ANSWERED + MAX_OPEN
    assert log.entries()[-1].path == f"/readyz/{MAX_ANSWERED + MAX_OPEN + 9}"
    assert {len(entry.because) for entry in log.entries()} == {MAX_BECAUSE}


def test_what_is_restored_comes_first():
    earlier, log = AnswerLog(), AnswerLog()
    answer(earlier, path="/livez")
    answer(log)
    log.restore(earlier.entries())

    assert [entry.path for entry in log.entries()] == ["/livez", "/readyz"]


def test_a_pause_of_the_kubelet_ends_an_entry():
    """It asks at regular intervals, except while it restarts a container."""
    clock = Clock()
    log = AnswerLog(clock)
    answer(log, 200, kubelet=True)
    for pause in (10, 10, 16, 10, 16.1, 10, 50):
        clock.advance(pause)
        answer(log, kubelet=True)
        answer(log)

    assert noted(log) == [
        ("/readyz", True, ("api (connect)",), 4),
        ("/readyz", True, ("api (connect)",), 2),
        ("/readyz", True, ("api (connect)",), 1),
        ("/readyz", False, ("api (connect)",), 7),
    ]


def test_an_entry_of_the_kubelet_has_the_answers_around_it():
    clock = Clock()
    log = AnswerLog(clock)
    for status in (200, 503, 503, 200, 200, 503):
        answer(log, status, kubelet=True)
        clock.advance(10)
    first, second = log.entries()

    assert (first.previous, first.first, first.last, first.recovered) == (1000.0, 1010.0, 1020.0, 1030.0)
    assert (second.previous, second.first, second.recovered) == (1040.0, 1050.0, None)


def test_an_entry_about_livez_has_the_start_of_a_container_after_it():
    """The kubelet asks for /startupz only until a container has started, whatever the status."""
    clock = Clock()
    log = AnswerLog(clock)
    for path, status, kubelet in (
        ("/startupz", 200, True),
        ("/livez", 503, True),
        ("/startupz", 200, False),
        ("/livez", 503, True),
        ("/startupz", 200, True),
        ("/startupz", 200, True),
        ("/livez", 503, True),
        ("/livez", 200, True),
        ("/startupz", 200, True),
    ):
        answer(log, status, path=path, kubelet=kubelet)
        clock.advance(5)

    assert [(entry.count, entry.startup, entry.recovered) for entry in log.entries()] == [
        (2, 1020.0, None),
        (1, None, 1035.0),
    ]


def test_other_clients_have_no_regular_intervals():
    clock = Clock()
    log = AnswerLog(clock)
    for pause in (10, 10, 1000):
        answer(log)
        clock.advance(pause)
    answer(log, 200)
    (entry,) = log.entries()

    assert (entry.count, entry.previous, entry.recovered) == (3, None, 2020.0)


def test_the_times_of_a_limited_number_of_paths_are_kept():
    log = AnswerLog()
    for number in range(MAX_OPEN + 1):
        for status in (200, 503):
            answer(log, status, path=f"/readyz/{number}", kubelet=True)

    assert [entry.previous is None for entry in log.entries()] == [False] * MAX_OPEN + [True]


def test_the_log_knows_up_to_when_entries_are_missing():
    clock = Clock()
    log = AnswerLog(clock)
    for _ in range(MAX_ANSWERED + 2):
        answer(log)
        answer(log, 200)
        clock.advance(1)
    assert log.complete_since == 1001.0

    earlier = AnswerLog(lambda: 900.0)
    answer(earlier)
    restored = AnswerLog(clock)
    restored.restore([*earlier.entries(), *log.entries()])
    assert restored.complete_since == 900.0
