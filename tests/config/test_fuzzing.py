"""Whatever a configuration file contains, it becomes a Config or a ConfigError, for little CPU."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from config.canaries import read_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config.checks import Config, load
from exporter.config.complaint import ConfigError
from exporter.config.web import WebConfig
from exporter.kinds import kinds

TESTS = Path(__file__).parents[1]
MAX_CPU = 2.0  # seconds, for a file of a few kB
WITHOUT_LINE = ("is empty", "is larger than", "has more than")  # complaints about a file as a whole


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzzing") / "health.yml"


def find_error(file: Path, read: Any) -> ConfigError | None:
    try:
        assert isinstance(read(file), Config | WebConfig)
    except ConfigError as error:
        return error
    return None


def count_lines(content: bytes) -> int:
    """The number of lines for PyYAML, to which U+0085 ends a line as well (YAML 1.1), or more."""
    return len(content.decode("utf-8", "replace").splitlines())


def examine(file: Path, content: bytes, read: Any = load) -> None:
    file.write_bytes(content)
    started = time.thread_time()
    error = find_error(file, read)
    assert time.thread_time() - started < MAX_CPU
    if error is None:
        return
    assert error.complaints
    for complaint in error.complaints:
        assert complaint.line or complaint.message.startswith(WITHOUT_LINE)
        assert complaint.line is None or 1 <= complaint.line <= count_lines(content)
    lines = str(error).splitlines()
    assert len(lines) == len(error.complaints)
    assert all(line.startswith(f"{file}:") for line in lines)


SOURCES = [path.read_bytes() for path in sorted([*TESTS.glob("good/*.yml"), *TESTS.glob("bad/*.yml")])]
SOURCES = [source for source in SOURCES if len(source) < 2000]
SOURCES += [b"checks:\n" + "".join(f"{example}\n" for example in kind.examples).encode() for kind in kinds().values()]
PIECES = st.sampled_from([*b"[]{}:,-?&*!|>'\"%@`# \n\t\r01a.<~\\/$", 0x80, 0xFF, 0]).map(lambda byte: bytes([byte]))
TOKENS = st.sampled_from(
    [b"<<: ", b"&a ", b"*a", b"!!str ", b"!x ", b"- ", b": ", b"\n  ", b"null", b"true", b".nan", b"1e999", b"9" * 60]
)


@st.composite
def spliced(draw):
    """A file whose pieces are replaced by others, or by pieces of another file."""
    content = draw(st.sampled_from(SOURCES))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 20)))
        other = draw(st.sampled_from(SOURCES))
        cut = draw(st.integers(0, len(other)))
        new = draw(PIECES | TOKENS | st.just(other[cut : cut + 30]) | st.binary(max_size=4))
        content = content[:start] + new + content[end:]
    return content


@settings(max_examples=75)
@given(content=spliced() | st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_text_is_a_configuration_or_an_error(file, content):
    examine(file, content)
    examine(file, content, WebConfig.read)


def list_keys(schema: Any) -> set[str]:
    """Every key that the configuration knows."""
    if isinstance(schema, list):
        return set().union(*map(list_keys, schema))
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", ())).union(*map(list_keys, schema.values()))


KEYS = st.text(max_size=5) | st.deferred(
    lambda: st.sampled_from(sorted(list_keys([read_schema(), WebConfig.model_json_schema()])))
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["liveness", "HTTP", "1m", "localhost", "http://a", "$.a", "(", "a b"])
)
STRUCTURES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=30
)


@settings(max_examples=75)
@given(
    structure=STRUCTURES
    | st.lists(st.dictionaries(KEYS, STRUCTURES, max_size=6), max_size=3).map(lambda checks: {"checks": checks})
)
def test_any_structure_is_a_configuration_or_an_error(file, structure):
    """Python writes NaN and infinity as no YAML of 1.2 does, so these are text here, which is as good."""
    content = json.dumps(structure, ensure_ascii=False).encode("utf-8", "replace")
    examine(file, content)
    examine(file, content, WebConfig.read)
