"""How many Python functions the frequent operations call.

The CPU time of an operation depends on the machine and what else it does; the number of calls does not. A bound is the
number recorded for the code as it is, and a twentieth more. If a change needs more calls for a good reason, record its
number here. Only functions of the package count, and those that dataclasses make: other packages and Python's own
modules differ from version to version. So do comprehensions, which are no calls from Python 3.12 on.
"""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from kinds.pages import OK
from kinds.servers import serving
from stage import Stage

import exporter
from exporter.evaluation.run import run
from exporter.evaluation.store import Store
from exporter.kinds.http_get import HttpGet
from exporter.model import Spec, Vitals
from exporter.probe.check import Check
from exporter.render.metrics import OPEN_METRICS, TEXT, render

PACKAGE = str(Path(exporter.__file__).parent)
COMPREHENSIONS = ("<listcomp>", "<dictcomp>", "<setcomp>")


def count_calls(operation: Callable[[], object]) -> Counter[str]:
    """Run it once to import and cache what the first run does, and return the calls of the second run, by function."""
    operation()
    calls: Counter[str] = Counter()

    def note(frame, event, _):
        code = frame.f_code
        ours = code.co_filename.startswith(PACKAGE) or code.co_filename == "<string>"
        if event == "call" and ours and code.co_name not in COMPREHENSIONS:
            calls[f"{Path(code.co_filename).name}:{code.co_qualname}"] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        operation()
    finally:
        sys.setprofile(before)
    return calls


def expect_at_most(recorded: int, calls: Counter[str]) -> None:
    assert recorded * 0.5 < calls.total() <= recorded * 1.05, calls.most_common()


def test_one_run_of_an_http_get_check():
    with serving((OK,)) as server:
        check = Check(Spec("web", "httpGet"), HttpGet(port=server.port))
        store = Store()
        store.configure([check])

        expect_at_most(135, count_calls(lambda: store.record(check, run(check))))


def test_one_answer_from_memory():
    stage = Stage()
    stage.show({"web": "P"})

    expect_at_most(7, count_calls(lambda: stage.probes.answer("GET", "/livez", "")))


def test_one_exposition_of_100_checks():
    stage = Stage()
    stage.show({f"web-{number}": "P" for number in range(100)})
    snapshot, vitals = stage.store.snapshot(), Vitals(running=True)

    for content_type in (TEXT, OPEN_METRICS):
        expect_at_most(4768, count_calls(lambda kind=content_type: render(snapshot, vitals, {}, content_type=kind)))
