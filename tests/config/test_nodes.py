"""The grammar of YAML: any text becomes nodes or a complaint, with a maximum size and CPU time."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from config.loading import parse, refused
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.complaint import Complaint, ConfigError
from exporter.config.nodes import MAX_VALUES

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[[],", "{? ", "&a [", "!!seq ["])
def test_endless_nesting_is_refused_with_little_cpu(opening):
    started = time.process_time()
    complaint = refused(opening * 100_000)

    assert complaint == "x.yml:1: nested deeper than 20 levels"
    assert time.process_time() - started < 2


@pytest.mark.parametrize("width", [2, 1000])
@pytest.mark.parametrize("form", ["[{}]", "{{<<: [{}]}}"])
def test_an_alias_bomb_is_refused_with_bounded_cpu(form, width):
    levels = "".join(f"a{n + 1}: &a{n + 1} {form.format(', '.join([f'*a{n}'] * width))}\n" for n in range(18))
    started = time.process_time()
    complaint = refused(f"a0: &a0 {{x: y}}\n{levels}")

    assert re.search(
        r"(more than 200000 values|deeper than 20 levels), counting (those that aliases repeat|aliases)$", complaint
    )
    assert time.process_time() - started < 10


def test_too_many_values_are_refused():
    assert refused("- a\n" * 250_000) == "x.yml: has more than 200000 values, which is too many"


def test_the_limits_leave_room_for_large_configurations():
    check = "- {name: c%d, httpGet: {path: /health, port: 80}, periodSeconds: 10, groups: [liveness, readiness]}\n"
    document = parse("".join(check % number for number in range(5_000)))

    assert len(document.data) == 5_000
    assert MAX_VALUES == 200_000


def complaints(content: bytes) -> list[Complaint]:
    """Every complaint; without any, the data is plain."""
    try:
        document = parse(content)
    except ConfigError as error:
        return error.complaints
    json.dumps(document.data)
    return document.complaints


@given(st.binary(max_size=200))
def test_any_bytes_become_a_document_or_a_complaint(content):
    assert all(str(complaint).startswith("x.yml") for complaint in complaints(content))


SIGNS = [*"[]{}:,-?&*!|>'\"%@`# \n\tab01.<~", "<<: ", "&a ", "*a ", "- ", ": ", "\n  "]


@given(st.lists(st.sampled_from(SIGNS)).map("".join))
def test_any_text_becomes_a_document_or_a_complaint_about_one_of_its_lines(text):
    for complaint in complaints(text.encode()):
        assert "\n" not in str(complaint)
        assert complaint.line is None or 1 <= complaint.line <= text.count("\n") + 1


def documents(*, libyaml: bool) -> list[str]:
    """The name of the parser, and what it makes of every good and bad file."""
    script = """
import sys
from pathlib import Path
if sys.argv.pop(1) == "False":
    sys.modules["yaml.cyaml"] = None
from exporter.config import nodes
from exporter.config.complaint import ConfigError
from exporter.config.document import Document
print(nodes._Parser.__name__)
for path in sys.argv[1:]:
    try:
        document = Document.read(Path(path))
        print("refused" if document.complaints else (document.data, document.lines))
    except ConfigError:
        print("refused")
"""
    paths = sorted([*TESTS.glob("good/*.yml"), *TESTS.glob("bad/*.yml")])
    printed = subprocess.run(
        [sys.executable, "-c", script, str(libyaml), *paths], capture_output=True, text=True, check=True, timeout=100
    ).stdout.splitlines()
    assert len(printed) == 1 + len(paths)
    return printed


def test_the_parser_without_libyaml_reads_every_file_alike():
    """PyYAML can be built without libyaml; importing its C part then fails."""
    fast, slow = documents(libyaml=True), documents(libyaml=False)

    assert (fast[0], slow[0]) == ("CParser", "_PythonParser")
    assert slow[1:] == fast[1:]
