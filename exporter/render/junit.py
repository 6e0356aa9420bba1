"""Snapshot -> a JUnit report in XML, as CI servers read it.

It is valid for the schema of Ant, which has every element below, and for the one of Jenkins.
"""

import socket
import time
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from exporter.evaluation.judge import satisfies
from exporter.model import Snapshot, State, Status, Verdict
from exporter.render.words import find_summary

_SUITE = "health-exporter"


def render(snapshot: Snapshot, verdict: Verdict) -> str:
    """Return one test case for each check: a check that fails is a failure, and one that could not run an error."""
    root = Element("testsuites")
    suite = SubElement(root, "testsuite", id="0", name=_SUITE, package=_SUITE)
    SubElement(suite, "properties")
    results = [_add_case(suite, state, verdict) for state in verdict.members]
    suite.attrib |= {
        "tests": str(len(results)),
        "failures": str(results.count("failure")),
        "errors": str(results.count("error")),
        "skipped": "0",
        "time": _format_time(sum(state.last.duration for state in verdict.members if state.last)),
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(snapshot.timestamp)),
        "hostname": socket.gethostname(),
    }
    SubElement(suite, "system-out").text = "\n".join(
        f"{state.spec.name}: {state.status}, {_describe(state)}" for state in verdict.members if state.reason
    )
    SubElement(suite, "system-err")
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}'


def _add_case(suite: Element, state: State, verdict: Verdict) -> str | None:
    """Add the test case of a check. Return the name of the element for its failure, if it has one."""
    took = state.last.duration if state.last else 0
    attributes = {"classname": f"{_SUITE}.{state.spec.kind}", "name": state.spec.name, "time": _format_time(took)}
    case = SubElement(suite, "testcase", attributes)
    if satisfies(state, verdict.group):
        return None
    result = "failure" if state.status is Status.FAIL else "error"
    SubElement(case, result, type=str(state.reason), message=find_summary(state)).text = _describe(state)
    return result


def _describe(state: State) -> str:
    return f"{state.reason}: {find_summary(state)}"


def _format_time(seconds: float) -> str:
    return f"{seconds:.3f}"
