"""The YAML of a configuration: version 1.2, lines for every place, and nothing that a hostile text can do."""

import json
import math
import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from exporter.config import nodes as syntax
from exporter.config.complaint import Complaint
from exporter.config.document import ConfigError, Document


def parsed(text: str | bytes) -> Document:
    return Document.parse(text if isinstance(text, bytes) else text.encode(), "x.yml")


def refusal(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as refused:
        parsed(text)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("nil", "nil"),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("+12", 12),
        ("-12", -12),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-1.5E-1", -0.15),
        ("12e03", 12000.0),
        ("1e999", math.inf),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("1,5", "1,5"),
        ("2001-12-14", "2001-12-14"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("=", "="),
        ("<<", "<<"),
        ("'010'", "010"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
        ("!!float 5", 5.0),
        ("10s", "10s"),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(text, value):
    data = parsed(f"a: {text}\n").data

    assert data == {"a": value}
    assert type(data["a"]) is type(value)


def test_nan_is_a_number_that_is_none():
    assert math.isnan(parsed("a: .NaN\n").data["a"])


@pytest.mark.parametrize("key", ["on", "yes", "null", "~", "1", "1.5", "true", "2001-12-14"])
def test_a_key_is_its_text(key):
    assert parsed(f"{key}: 1\n").data == {key: 1}


TEXT = """\
# A comment
checks:
  - name: a
    httpGet: {path: /,
              port: 80}
  - name: b

    disk:
      path: /
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("checks",), 2),
        (("checks", 0), 3),
        (("checks", 0, "name"), 3),
        (("checks", 0, "httpGet", "path"), 4),
        (("checks", 0, "httpGet", "port"), 5),
        (("checks", 1), 6),
        (("checks", 1, "disk", "path"), 9),
        (("checks", 1, "disk", "absent"), 8),
        (("checks", 7), 2),
        (("absent", "absent"), 2),
    ],
)
def test_every_place_has_its_line_and_an_absent_one_that_of_what_is_around_it(path, line):
    assert parsed(TEXT).line(path) == line


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_end_in_any_of_three_ways(ending):
    document = parsed(TEXT.replace("\n", ending))

    assert document.data == parsed(TEXT).data
    assert document.line(("checks", 1, "disk", "path")) == 9


MERGES = """\
base: &base
  a: 1
  b: 2
  deep: {x: 1}
more: &more {b: 3, c: 4}
plain: {<<: *base, b: 5}
late: {b: 5, <<: *base}
list: {<<: [*more, *base]}
twice: {<<: *base, <<: *more}
nested:
  <<: {<<: *base, c: 6}
quoted: {"<<": 1}
"""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("plain", {"a": 1, "b": 5, "deep": {"x": 1}}),
        ("late", {"a": 1, "b": 5, "deep": {"x": 1}}),
        ("list", {"a": 1, "b": 3, "c": 4, "deep": {"x": 1}}),
        ("twice", {"a": 1, "b": 2, "c": 4, "deep": {"x": 1}}),
        ("nested", {"a": 1, "b": 2, "c": 6, "deep": {"x": 1}}),
        ("quoted", {"<<": 1}),
    ],
)
def test_a_merge_gives_what_is_not_there_and_the_first_one_wins(key, value):
    assert parsed(MERGES).data[key] == value


def test_a_merged_place_has_the_line_where_it_is_written():
    document = parsed(MERGES)

    assert document.line(("plain", "a")) == 2
    assert document.line(("plain", "b")) == 6
    assert document.line(("late", "b")) == 7


def test_an_alias_means_the_latest_anchor_of_its_name():
    assert parsed("a: &x 1\nb: *x\nc: &x 2\nd: *x\n").data == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_what_an_alias_repeats_is_not_shared():
    data = parsed("a: &a {x: []}\nb: *a\n").data
    data["a"]["x"].append(1)

    assert data["b"] == {"x": []}


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[[],", "{? ", "&a [", "!!seq ["])
def test_nesting_without_end_is_refused_at_once(opening):
    began = time.process_time()
    complaint = refusal(opening * 100_000)

    assert complaint == "x.yml:1: nested deeper than 20 levels"
    assert time.process_time() - began < 2


@pytest.mark.parametrize("width", [2, 9, 1000])
@pytest.mark.parametrize("form", ["[{}]", "{{<<: [{}]}}"])
def test_what_aliases_multiply_is_refused_in_bounded_time(form, width):
    levels = "".join(f"a{n + 1}: &a{n + 1} {form.format(', '.join([f'*a{n}'] * width))}\n" for n in range(18))
    began = time.process_time()
    complaint = refusal(f"a0: &a0 {{x: y}}\n{levels}")

    assert re.search(
        r"(more than 200000 values|deeper than 20 levels), counting (what aliases repeat|aliases)$", complaint
    )
    assert time.process_time() - began < 10


def test_a_text_of_too_many_values_is_refused():
    assert refusal("- a\n" * 250_000) == "x.yml: holds more than 200000 values: not a configuration"


def test_a_large_text_is_refused_unread():
    assert refusal(b"\0" * (4 * 2**20 + 1)) == "x.yml: larger than 4 MiB: not a configuration"


def test_a_large_file_is_not_read_to_its_end(tmp_path):
    (tmp_path / "large.yml").touch()
    with (tmp_path / "large.yml").open("r+") as file:
        file.truncate(2**40)  # a hole: it takes no room on the disk, and would take it in memory

    with pytest.raises(ConfigError, match="larger than 4 MiB: not a configuration"):
        Document.read(tmp_path / "large.yml")


def complaints(content: bytes) -> list[Complaint]:
    """Every complaint there is; the data is plain if there is none."""
    try:
        document = parsed(content)
    except ConfigError as error:
        return error.complaints
    json.dumps(document.data)
    return document.complaints


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_a_complaint(content):
    assert all(str(complaint).startswith("x.yml") for complaint in complaints(content))


SIGNS = [*"[]{}:,-?&*!|>'\"%@`# \n\tab01.<~", "<<: ", "&a ", "*a ", "- ", ": ", "\n  "]


@given(st.lists(st.sampled_from(SIGNS)).map("".join))
def test_any_text_is_a_document_or_a_complaint_about_one_of_its_lines(text):
    for complaint in complaints(text.encode()):
        assert "\n" not in str(complaint)
        assert complaint.line is None or 1 <= complaint.line <= text.count("\n") + 1


WORDS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Cn"], exclude_characters="\ufeff\ufffe\uffff")
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_json_means_in_yaml_what_it_means_in_json(data):
    document = parsed(json.dumps(data, ensure_ascii=False))

    assert document.complaints == []
    assert document.data == (data if data != "" else None)


@pytest.mark.parametrize("text", [TEXT, MERGES, "a: [010, yes, .inf, ~]\n", "a: !!int '5'\n", "{", "- *a", "[" * 1000])
def test_a_parser_without_libyaml_gives_the_same(text):
    """PyYAML is also built without it; the import of its C part fails then."""
    script = """
import sys
sys.modules["yaml.cyaml"] = None
from exporter.config.document import ConfigError, Document
try:
    document = Document.parse(sys.stdin.buffer.read(), "x.yml")
    print(document.data, document.lines)
except ConfigError:
    print("refused")
"""
    seen = subprocess.run(
        [sys.executable, "-c", script], input=text, capture_output=True, text=True, check=True, timeout=30
    ).stdout
    try:
        document = parsed(text)
    except ConfigError:
        assert seen == "refused\n"
    else:
        assert seen == f"{document.data} {document.lines}\n"


class Part(BaseModel):
    word: str


class Whole(BaseModel):
    part: Part
    numbers: list[int] = []
    named: dict[str, int] = {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("part: {word: 5}\n", ["x.yml:1: part.word: must be text, not 5: put it in quotes"]),
        ("part:\n  word:\n", ["x.yml:2: part.word: is empty, and must be text"]),
        ("part: hello\n", ["x.yml:1: part: must be a mapping of keys to values, not text"]),
        ("{}\n", ["x.yml:1: part: is required"]),
        ("\n", ["x.yml: is empty"]),
        (
            "part: {}\nnumbers: [1, x]\n",
            ["x.yml:1: part.word: is required", "x.yml:2: numbers[1]: must be a whole number, not 'x'"],
        ),
        ("part: {word: a}\nnamed: {a.b: x}\n", ["x.yml:2: named.'a.b': must be a whole number, not 'x'"]),
        ("part: {word: !x a}\n", ["x.yml:1: part.word: the tag !x is not supported: leave it out"]),
        ("part: {word: [a]}\n", ["x.yml:1: part.word: must be text, not a list"]),
        (
            "part: {word: a}\nnumbers: [http://u:p@h/]\n",
            ["x.yml:2: numbers[0]: must be a whole number, not 'http://...@h/'"],
        ),
    ],
)
def test_a_model_complains_of_places_in_the_document(text, expected):
    with pytest.raises(ConfigError) as refused:
        parsed(text).validated(Whole)

    assert str(refused.value).splitlines() == expected


def test_complaints_come_in_the_order_of_the_lines():
    text = "named:\n" + "".join(f"  k{n}: x\n" for n in range(11))
    with pytest.raises(ConfigError) as refused:
        parsed(text).validated(Whole)

    assert [complaint.line for complaint in refused.value.complaints] == [1, *range(2, 13)]


def test_the_limits_leave_room_for_large_configurations():
    check = "- {name: c%d, httpGet: {path: /health, port: 80}, periodSeconds: 10, groups: [liveness, readiness]}\n"
    document = parsed("".join(check % number for number in range(10_000)))

    assert len(document.data) == 10_000
    assert syntax.VALUE_LIMIT == 200_000
