"""A document: the line of every place, and a model's complaints with their lines."""

from datetime import date

import pytest
from config.loading import parse, refused
from pydantic import BaseModel

from exporter.config.complaint import ConfigError
from exporter.config.document import Document

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
def test_a_place_has_its_line_or_that_of_the_nearest_place_around_it(path, line):
    assert parse(TEXT).find_line(path) == line


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_lf_cr_lf_or_cr(ending):
    document = parse(TEXT.replace("\n", ending))

    assert document.data == parse(TEXT).data
    assert document.find_line(("checks", 1, "disk", "path")) == 9


def test_a_large_text_is_refused_before_it_is_parsed():
    assert refused(b"\0" * (4 * 2**20 + 1)) == "x.yml: is larger than 4 MiB, which is too large for a configuration"


def test_a_large_file_is_not_read_to_its_end(tmp_path):
    (tmp_path / "large.yml").touch()
    with (tmp_path / "large.yml").open("r+") as file:
        file.truncate(2**40)  # sparse: it takes no space on the disk, but would fill the memory

    with pytest.raises(ConfigError, match="is larger than 4 MiB, which is too large for a configuration"):
        Document.read(tmp_path / "large.yml")


class Part(BaseModel):
    word: str


class Whole(BaseModel):
    part: Part
    numbers: list[int] = []
    named: dict[str, int] = {}
    day: date | None = None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("part: {word: 5}\n", ["x.yml:1: part.word: must be text, not a number: put it in quotes"]),
        ("part:\n  word:\n", ["x.yml:2: part.word: is empty, but must be text"]),
        ("part: hello\n", ["x.yml:1: part: must be a mapping of keys to values, not text"]),
        ("{}\n", ["x.yml:1: part: is required"]),
        ("\n", ["x.yml: is empty"]),
        (
            "part: {}\nnumbers: [1, x]\n",
            ["x.yml:1: part.word: is required", "x.yml:2: numbers[1]: must be a whole number, not text of 1 character"],
        ),
        (
            "part: {word: a}\nnamed: {a.b: x}\n",
            ["x.yml:2: named.'a.b': must be a whole number, not text of 1 character"],
        ),
        (
            "part: {word: !x a}\n",
            ["x.yml:1: part.word: has an unsupported tag: remove it, or put a value that begins with ! in quotes"],
        ),
        (
            "part: {word: a}\nday: x\n",
            ["x.yml:2: day: must be a valid date in the format YYYY-MM-DD, input is too short"],
        ),
        ("part: {word: [a]}\n", ["x.yml:1: part.word: must be text, not a list"]),
        (
            "part: {word: a}\nnumbers: [http://u:p@h/]\n",
            ["x.yml:2: numbers[0]: must be a whole number, not text of 13 characters"],
        ),
    ],
)
def test_a_complaint_of_the_model_has_its_place_in_the_document(text, expected):
    with pytest.raises(ConfigError) as error:
        parse(text).validate(Whole)

    assert str(error.value).splitlines() == expected


def test_complaints_are_in_the_order_of_the_lines():
    text = "named:\n" + "".join(f"  k{n}: x\n" for n in range(11))
    with pytest.raises(ConfigError) as error:
        parse(text).validate(Whole)

    assert [complaint.line for complaint in error.value.complaints] == [1, *range(2, 13)]
