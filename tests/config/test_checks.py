"""The configuration: every rule with its exact complaint, and the JSON Schema that says the same."""

import json
import re
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from exporter.config import checks as config
from exporter.config.checks import load, schema
from exporter.config.document import ConfigError, Document
from exporter.kinds import kinds
from exporter.model import Group, Severity, Spec
from exporter.probe.secret import Secret

HERE = Path(__file__).parents[1]

# Each file breaks one rule; the complaints are what the exporter says about it, without the file's name.
COMPLAINTS = {
    "alias_bomb": """
    :1: holds more than 200000 values, counting what aliases repeat
    """,
    "alias_of_itself": """
    :1: checks[0]: refers to itself through an alias
    """,
    "alias_of_itself_in_a_merge": """
    :2: checks[0]: refers to itself through an alias
    """,
    "beyond_int32": """
    :4: checks[0].initialDelaySeconds: must be at most 2147483647, not 2147483648
    :5: checks[0].timeoutSeconds: must be at most 2147483647, not 2147483648
    :6: checks[0].periodSeconds: must be at most 2147483647, not 2147483648
    :7: checks[0].successThreshold: must be at most 2147483647, not 2147483648
    :8: checks[0].failureThreshold: must be at most 2147483647, not 2147483648
    :9: checks[0].staleAfterSeconds: must be at most 2147483647, not 2147483648
    """,
    "binary": """
    :2: not UTF-8 text: there is a byte 0x80
    """,
    "bracket_not_closed": """
    :3: not YAML: a '{' is not closed, or a ',' is missing
    """,
    "bracket_not_closed_until_the_end": """
    :2: not YAML: a '[' is not closed, or a ',' is missing, in what begins in line 1
    """,
    "check_is_a_word": """
    :2: checks[0]: must be a mapping of keys to values, not text
    """,
    "check_is_nothing": """
    :2: checks[0]: is empty, and must be a mapping of keys to values
    """,
    "checks_empty": """
    :1: checks: is empty, and must be a list
    """,
    "checks_is_a_mapping": """
    :1: checks: must be a list, not a mapping
    """,
    "checks_missing": """
    :1: checks: is required
    """,
    "checks_misspelt": """
    :1: cheks: unknown key, did you mean checks?
    """,
    "colon_in_a_value": """
    :2: not YAML: a ':' too many, or a line indented too far; text with ': ' has to stand in quotes
    """,
    "command_is_text": """
    :3: checks[0].exec.command: must be a list, not 'cat /tmp/healthy'
    """,
    "command_of_numbers": """
    :3: checks[0].exec.command[1]: must be text, not 1: put it in quotes
    """,
    "control_character": """
    :2: not YAML: there is a character U+001B
    """,
    "buckets_do_not_rise": """
    :4: checks[0].latencyBuckets: must rise from each bound to the next
    """,
    "depends_in_a_circle": """
    :4: checks[0].dependsOn[0]: 'api' itself depends on 'app'
    :7: checks[1].dependsOn[0]: 'app' itself depends on 'api'
    """,
    "depends_on_itself": """
    :4: checks[0].dependsOn[0]: 'app' itself depends on 'app'
    """,
    "depends_on_nothing": """
    :4: checks[0].dependsOn[0]: there is no check 'database'
    """,
    "duplicate_key": """
    :4: checks[0].name: duplicate key, first in line 2
    """,
    "duplicate_key_at_the_top": """
    :2: checks: duplicate key, first in line 1
    """,
    "empty": """
    : is empty
    """,
    "everything_at_once": """
    :3: checks[0].periodSeconds: must be at least 0, not -1
    :4: checks[0].httpGet.port: must be a whole number, not 'http': only the kubelet knows the names of ports
    :4: checks[0].httpGet.pth: unknown key, did you mean path?
    :5: checks[0].name: duplicate key, first in line 2
    :6: checks[1].name: is required
    :6: checks[1].timeoutSeconds: must be a whole number, not 1.5
    :7: checks[1].disk.failRatio: must be above 0, not 0
    :8: checks[1].groups[1]: must be 'liveness', 'readiness', 'startup' or 'all', not 'alive'
    :9: checks[1].successThreshold: must be 1 for a check in the group liveness, as in Kubernetes
    """,
    "expect_status": """
    :2: checks[0].httpGet.expectStatus[0]: must be at least 100, not 20
    :2: checks[0].httpGet.expectStatus[1]: must be at most 999, not 1000
    :2: checks[0].httpGet.expectStatus[2]: must be a whole number, not 200.0
    :2: checks[0].httpGet.expectStatus[3]: must be a whole number, not '2xx'
    :3: checks[1].httpGet.expectStatus: must not be empty
    :4: checks[2].httpGet.expectStatus: must be a list, not 200
    """,
    "group_unknown": """
    :4: checks[0].groups[0]: must be 'liveness', 'readiness', 'startup' or 'all', not 'readyness'
    :4: checks[0].groups[1]: must be 'liveness', 'readiness', 'startup' or 'all', not 'Liveness'
    """,
    "groups_are_a_word": """
    :4: checks[0].groups: must be a list, not 'liveness'
    """,
    "headers_are_a_mapping": """
    :3: checks[0].httpGet.httpHeaders: must be a list, not a mapping
    """,
    "indented_wrongly": """
    :3: not YAML: a line is not indented as those around it, in what begins in line 2
    """,
    "inherited_by_a_merge": """
    :4: checks[0].periodSeconds: must be a whole number, not 'soon'
    :4: checks[1].periodSeconds: must be a whole number, not 'soon'
    """,
    "key_in_another_case": """
    :3: checks[0].httpget: unknown key, did you mean httpGet?
    :4: checks[0].period_seconds: unknown key, did you mean periodSeconds?
    """,
    "key_is_a_list": """
    :4: checks[0]: a key must be a word; if this is a template's {{ }}, it was not filled in
    """,
    "key_not_indented": """
    :4: not YAML: a line is not indented as those around it, in what begins in line 2
    """,
    "key_that_belongs_beside": """
    :5: checks[0].httpGet.periodSeconds: unknown key here, it belongs beside httpGet
    """,
    "key_that_belongs_inside": """
    :4: checks[0].expectStatus: unknown key here, it belongs inside httpGet
    """,
    "key_with_a_line_end": """
    :2: 'a\\nb': unknown key
    """,
    "key_without_a_colon": """
    :4: not YAML: a key has no ':', in what begins in line 3
    """,
    "kind_is_a_number": """
    :3: checks[0].httpGet: must be a mapping of keys to values, not a number
    """,
    "kind_is_empty": """
    :3: checks[0].loadAverage: is empty: write loadAverage: {} for its defaults
    :5: checks[1].httpGet: is empty: write httpGet: {port: ...}
    """,
    "kind_unknown": """
    :2: checks[0]: has no kind: write one of KINDS
    :3: checks[0].smokeSignal: unknown key
    """,
    "merge_bomb": """
    :1: holds more than 200000 values, counting what aliases repeat
    """,
    "merge_of_a_chain": """
    :1: nested deeper than 20 levels, counting aliases
    """,
    "merge_of_a_scalar": """
    :2: checks[0]: '<<' takes a mapping or a list of mappings
    """,
    "name_bad": """
    :2: checks[0].name: must be letters, digits, '-', '_' and '.', with a letter or digit at both ends, not 'a b'
    :3: checks[1].name: must be letters, digits, '-', '_' and '.', with a letter or digit at both ends, not '-a'
    :4: checks[2].name: must be letters, digits, '-', '_' and '.', with a letter or digit at both ends, not ''
    :5: checks[3].name: must be letters, digits, '-', '_' and '.', with a letter or digit at both ends, not 'café'
    :6: checks[4].name: must be letters, digits, '-', '_' and '.', with a letter or digit at both ends, not 'a\\n'
    """,
    "name_empty": """
    :2: checks[0].name: is empty, and must be text
    """,
    "name_is_a_number": """
    :2: checks[0].name: must be text, not 5: put it in quotes
    """,
    "name_long": """
    :2: checks[0].name: must have at most 63 characters, not 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...
    """,
    "name_missing": """
    :2: checks[0].name: is required
    """,
    "name_taken": """
    :4: checks[2].name: the name 'api' is taken by the check in line 2
    """,
    "nested_too_deep": """
    :1: nested deeper than 20 levels
    """,
    "no_kind": """
    :2: checks[0]: has no kind: write one of KINDS
    """,
    "not_a_number": """
    :4: checks[0].periodSeconds: must be a whole number, not '10s'
    :5: checks[0].timeoutSeconds: must be a whole number, not 'yes'
    :6: checks[0].failureThreshold: must be a whole number, not true
    :7: checks[0].successThreshold: must be a whole number, not a list
    :8: checks[0].initialDelaySeconds: must be a whole number, not '1:30'
    """,
    "not_utf8": """
    :2: not UTF-8 text: there is a byte 0xe9
    """,
    "not_whole": """
    :4: checks[0].periodSeconds: must be a whole number, not 1.5
    :5: checks[0].timeoutSeconds: must be a whole number, not 1.0
    :6: checks[0].failureThreshold: must be a whole number, not 1000.0
    """,
    "nul": """
    :2: not YAML: there is a character U+0000
    """,
    "nul_by_escape": """
    :3: checks[0].exec.command[1]: holds the character U+0000, which no name, path or argument can hold
    """,
    "number_empty": """
    :4: checks[0].periodSeconds: is empty, and must be a whole number
    """,
    "number_infinite": """
    :4: checks[0].periodSeconds: must be a whole number, not .inf
    """,
    "number_of_many_digits": """
    :4: checks[0].periodSeconds: must be a smaller number: this one has 50 digits
    """,
    "only_comments": """
    : is empty
    """,
    "quote_not_closed": """
    :3: not YAML: a quote is not closed, in what begins in line 2
    """,
    "ratio": """
    :2: checks[0].disk.failRatio: must be above 0, not 0
    :3: checks[1].disk.failRatio: must be above 0, not -0.5
    :4: checks[2].disk.failRatio: must be a finite number, not .nan
    :5: checks[3].disk.failRatio: must be a finite number, not .inf
    :6: checks[4].disk.failRatio: must be a number, not '90%'
    :7: checks[5].disk.failRatio: must be a number, not '0.9'
    :8: checks[6].disk.failRatio: is empty, and must be a number
    :9: checks[7].disk.warnRatio: must be a number, not true
    """,
    "root_is_a_list": """
    :1: must be a mapping of keys to values, not a list
    """,
    "root_is_a_scalar": """
    :1: must be a mapping of keys to values, not text
    """,
    "secret_written_out": """
    :3: checks[0].httpGet.httpHeaders[0]: must be a mapping of keys to values, not text
    """,
    "several_documents": """
    :2: a second document begins here: a configuration is one
    """,
    "severity_unknown": """
    :4: checks[0].severity: must be 'critical', 'warning' or 'info', not 'high'
    """,
    "stale_after_below_the_period": """
    :2: checks[0].staleAfterSeconds: must not be below periodSeconds (10): every result would go stale before the next
    :3: checks[1].staleAfterSeconds: must not be below periodSeconds (30): every result would go stale before the next
    :4: checks[2].staleAfterSeconds: must not be below periodSeconds (10): every result would go stale before the next
    """,
    "stale_after_zero": """
    :4: checks[0].staleAfterSeconds: must be at least 1, not 0
    """,
    "tab_indents": """
    :2: not YAML: a tab, and only spaces may indent
    """,
    "tab_indents_later": """
    :3: not YAML: a tab, and only spaces may indent, in what begins in line 2
    """,
    "tag_that_is_not_true": """
    :4: checks[0].periodSeconds: is not the int that its tag announces
    """,
    "template_not_filled_in": """
    :3: checks[0].httpGet.port: a key must be a word; if this is a template's {{ }}, it was not filled in
    """,
    "two_kinds": """
    :2: checks[0]: has more than one kind, httpGet and tcpSocket: make each a check of its own
    """,
    "unknown_alias": """
    :1: not YAML: found undefined alias 'nothing'
    """,
    "unknown_escape": """
    :2: not YAML: an unknown escape; in single quotes a \\ is just a \\
    """,
    "unknown_key": """
    :4: checks[0].periodSecond: unknown key, did you mean periodSeconds?
    :5: checks[0].colour: unknown key
    """,
    "unknown_key_at_the_top": """
    :2: global: unknown key
    """,
    "unknown_key_in_a_kind": """
    :3: checks[0].httpGet.pth: unknown key, did you mean path?
    """,
    "unpaired_surrogate": """
    :2: not YAML: an escape that is no character
    """,
    "unsupported_tag": """
    :3: checks[0].disk.path: the tag !env is not supported: leave it out
    """,
    "unsupported_tag_of_a_list": """
    :1: checks: the tag !!python/object/apply:os.system is not supported: leave it out
    """,
    "utf16": """
    :1: not UTF-8 text: there is a byte 0xff
    """,
    "v10_scheme_in_lower_case": """
    :3: checks[0].httpGet.scheme: must be 'HTTP' or 'HTTPS', not 'https'
    """,
    "v11_host_is_not_one": """
    :2: checks[0].httpGet.host: must be a name or an address, with no scheme, port or brackets, not 'http://web'
    :3: checks[1].tcpSocket.host: must be a name or an address, with no scheme, port or brackets, not ''
    :4: checks[2].tcpSocket.host: must be a name or an address, with no scheme, port or brackets, not '[::1]'
    """,
    "v12_header_name": """
    :6: checks[0].httpGet.httpHeaders[0].name: must be letters, digits and '-', not 'X_Y'
    :7: checks[0].httpGet.httpHeaders[1].name: must be letters, digits and '-', not ''
    :8: checks[0].httpGet.httpHeaders[2].name: is required
    """,
    "v13_header_value_is_a_number": """
    :3: checks[0].httpGet.httpHeaders[0].value: must be text, not 1: put it in quotes
    """,
    "v14_command_empty": """
    :3: checks[0].exec.command: must not be empty
    """,
    "v14_command_missing": """
    :3: checks[0].exec.command: is required
    """,
    "v16_termination_grace_period": """
    :4: checks[0].terminationGracePeriodSeconds: stays in the manifest's probe: the exporter ends no application
    """,
    "v1_initial_delay_negative": """
    :4: checks[0].initialDelaySeconds: must be at least 0, not -1
    """,
    "v2_timeout_negative": """
    :4: checks[0].timeoutSeconds: must be at least 0, not -1
    """,
    "v3_period_negative": """
    :4: checks[0].periodSeconds: must be at least 0, not -1
    """,
    "v4_success_threshold_is_text": """
    :4: checks[0].successThreshold: must be a whole number, not '2'
    """,
    "v4_success_threshold_negative": """
    :4: checks[0].successThreshold: must be at least 0, not -1
    """,
    "v4_success_threshold_of_liveness": """
    :4: checks[0].successThreshold: must be 1 for a check in the group liveness, as in Kubernetes
    """,
    "v4_success_threshold_of_startup": """
    :4: checks[0].successThreshold: must be 1 for a check in the group startup, as in Kubernetes
    """,
    "v5_failure_threshold_negative": """
    :4: checks[0].failureThreshold: must be at least 0, not -1
    """,
    "v6_port_in_quotes": """
    :3: checks[0].httpGet.port: must be a whole number, not '8080': remove the quotes
    """,
    "v6_port_missing": """
    :2: checks[0].httpGet.port: is required
    :3: checks[1].tcpSocket.port: is required
    """,
    "v6_port_name": """
    :3: checks[0].httpGet.port: must be a whole number, not 'http': only the kubelet knows the names of ports
    """,
    "v6_port_range": """
    :2: checks[0].httpGet.port: must be at least 1, not 0
    :3: checks[1].httpGet.port: must be at most 65535, not 65536
    :4: checks[2].tcpSocket.port: must be at least 1, not -1
    :5: checks[3].tcpSocket.port: must be a whole number, not 80.0
    """,
    "v9_path_is_a_number": """
    :3: checks[0].httpGet.path: must be text, not 5: put it in quotes
    """,
    "value_begins_with_a_reserved_character": """
    :2: not YAML: a value that begins with @ has to stand in quotes
    """,
    "window": """
    :3: checks[0].loadAverage.window: must be '1m', '5m' or '15m', not '10m'
    """,
}


def complaints(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(path)
    return str(refused.value).splitlines()


def test_every_bad_file_has_its_complaints_here():
    assert {path.stem for path in (HERE / "bad").iterdir()} == set(COMPLAINTS)


@pytest.mark.parametrize("name", COMPLAINTS)
def test_a_bad_file_is_told_of_in_exactly_these_words(name, monkeypatch):
    monkeypatch.chdir(HERE)
    expected = dedent(COMPLAINTS[name]).strip().replace("KINDS", ", ".join(kinds())).splitlines()

    assert complaints(Path(f"bad/{name}.yml")) == [f"bad/{name}.yml{line}" for line in expected]


@pytest.mark.parametrize("name", COMPLAINTS)
def test_no_complaint_speaks_of_the_machinery(name):
    words = " ".join(complaints(HERE / "bad" / f"{name}.yml"))

    for word in ("None", "Input", "valid ", "tuple", "frozenset", "BaseModel", "instance", "pydantic", "Error"):
        assert word not in words


def test_a_file_that_is_not_there_is_told_of(tmp_path):
    assert complaints(tmp_path / "none.yml") == [f"{tmp_path}/none.yml: cannot be read: No such file or directory"]
    assert complaints(tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]


READINESS = frozenset({Group.READINESS, Group.ALL})
DEFAULT = Spec(
    name="disk",
    kind="disk",
    target="/",
    groups=READINESS,
    severity=Severity.CRITICAL,
    initial_delay=0,
    period=10,
    timeout=1,
    success_threshold=1,
    failure_threshold=3,
    stale_after=31,
)
GOOD = {
    "byte_order_mark": {"disk": {}},
    "crlf": {"disk": {}},
    "limits": {
        "a": {"stale_after": 2**31 - 1, "period": 2**31 - 1, "success_threshold": 2**31 - 1},
        "a" * 63: {"period": 7, "stale_after": 7, "groups": frozenset({Group.ALL})},
        "A.b_c-9": {"groups": frozenset({Group.ALL}), "stale_after": 31},
    },
    "merges": {
        "quick": {"period": 2, "target": "/"},
        "patient": {"period": 60, "failure_threshold": 9, "target": "/var"},
        "quick-too": {"period": 2, "target": "/tmp"},
        "first-wins": {"period": 2, "failure_threshold": 9, "target": "/"},
    },
    "nothing": {},
    "pasted_from_a_manifest": {
        "api": {
            "kind": "httpGet",
            "target": "https://api.example:8443/health",
            "groups": frozenset(Group),
            "initial_delay": 15,
            "period": 20,
            "timeout": 5,
            "failure_threshold": 6,
            "stale_after": 6 * 20 + 5,
        }
    },
    "shortest_forms": {
        "load": {"kind": "loadAverage"},
        "memory": {"kind": "memory"},
        "disk": {"kind": "disk", "target": "/"},
        "web": {"kind": "httpGet", "target": "http://127.0.0.1:80/"},
        "mysql": {"kind": "tcpSocket", "target": "127.0.0.1:3306"},
        "warm": {"kind": "exec", "target": "cat"},
    },
    "yaml_1.2": {
        "on": {"target": "yes", "period": 10},
        "2001-01-01": {"target": "1:30", "period": 15},
        "off": {"target": "1_000", "period": 31},
        "n": {"target": "5", "period": 5},
        "null": {"target": "5"},
        "y": {"target": "0b1"},
    },
    "zero_is_the_default": {
        "api": {
            "initial_delay": 0,
            "period": 10,
            "timeout": 1,
            "success_threshold": 1,
            "failure_threshold": 3,
            "stale_after": 31,
        }
    },
}


def test_every_good_file_has_its_meaning_here():
    assert {path.name.removesuffix(".yml") for path in (HERE / "good").iterdir()} == set(GOOD)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_means_this(name):
    specs = {check.spec.name: check.spec for check in load(HERE / "good" / f"{name}.yml").checks}

    assert {
        each: {field: getattr(spec, field) for field in GOOD[name].get(each, ())} for each, spec in specs.items()
    } == GOOD[name]


def test_what_is_not_written_is_as_in_kubernetes():
    (check,) = load(HERE / "good" / "byte_order_mark.yml").checks

    assert check.spec == DEFAULT


def test_no_file_watches_this_machine():
    assert [(check.spec.name, check.spec.kind) for check in load(None).checks] == [
        ("load", "loadAverage"),
        ("memory", "memory"),
        ("disk", "disk"),
    ]


def test_a_kind_of_a_check_is_found_whatever_stands_beside_it():
    for check in load(HERE / "good" / "shortest_forms.yml").checks:
        assert type(check.probe) is kinds()[check.spec.kind]


SECRETS = [
    (kind, field.alias)
    for kind, probe in kinds().items()
    for field in probe.model_fields.values()
    if Secret in (field.annotation, *get_args(field.annotation))
]


@pytest.mark.parametrize(("kind", "option"), SECRETS)
@pytest.mark.parametrize(
    "written", ["s3cret", ["s3cret"], {"value": "s3cret"}, {"env": ["s3cret"]}, {"file": ["s3cret"]}]
)
def test_a_secret_that_is_written_out_is_not_repeated(kind, option, written):
    complaints = told({"checks": [{"name": "a", kind: {option: written}}]})

    assert complaints
    assert "s3cret" not in " ".join(complaints)


# The JSON Schema


def test_the_schema_is_one():
    Draft202012Validator.check_schema(schema())


def test_every_property_of_the_schema_is_described():
    described = schema()
    for name, definition in (("", described), *described["$defs"].items()):
        for key, option in definition.get("properties", {}).items():
            assert option.get("description"), f"{name}.{key}"


def test_the_schema_repeats_no_name_as_a_title():
    assert re.findall(r"'title': '[^']*'", str(schema())) == ["'title': 'health-exporter'"]


@pytest.mark.parametrize("name", GOOD)
def test_the_schema_takes_every_good_file(name):
    document = Document.read(HERE / "good" / f"{name}.yml")

    assert [error.message for error in Draft202012Validator(schema()).iter_errors(document.data)] == []


NOT_IN_A_SCHEMA = {
    "the name .* is taken by the check in line": [{"name": "a", "disk": {}}, {"name": "a", "disk": {}}],
    "must be 1 for a check in the group": [{"name": "a", "disk": {}, "successThreshold": 2, "groups": ["startup"]}],
    "must not be below periodSeconds": [{"name": "a", "disk": {}, "staleAfterSeconds": 9}],
    "must rise from each bound": [{"name": "a", "disk": {}, "latencyBuckets": [2, 1]}],
    "there is no check": [{"name": "a", "disk": {}, "dependsOn": ["b"]}],
    ".* itself depends on ": [{"name": "a", "disk": {}, "dependsOn": ["a"]}],
    "must be a whole number, not 10.0": [{"name": "a", "disk": {}, "periodSeconds": 10.0}],
}
"""What the loader says where JSON Schema has no words for the rule, or none for the difference; and an example."""


def told(data: Any) -> list[str]:
    """The loader's complaints of data that came from no file."""
    document = Document("generated", data)
    try:
        document.validated(config._model(), config.rules(document))
    except ConfigError as error:
        return [complaint.message for complaint in error.complaints]
    return []


def told_by_kinds(data: Any) -> list[str]:
    """What rules of the kinds' own say: of several options together, or of texts that have a grammar."""
    try:
        config._model().model_validate_json(json.dumps(data), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        return [each["msg"].removeprefix("Value error, ") for each in error.errors() if each["type"] == "value_error"]
    return []


SCHEMA = schema()
VALIDATOR = Draft202012Validator(SCHEMA)
WORDS = st.sampled_from(
    ["", "a", "api", "a b", "-", "liveness", "startup", "all", "info", "HTTPS", "1m", "8080", "x" * 64]
)
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2, 9, 10, 99, 100, 999, 1000, 65535, 65536, 2**31 - 1, 2**31, 10**30]),
    st.sampled_from([-0.5, 0.5, 1.5]),
    WORDS,
    st.sampled_from(["5", "0.5", "true", "10s"]),
    st.lists(WORDS, max_size=2),
    st.builds(dict),
)


def described(part: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a part of the schema describes."""
    match part:
        case {"$ref": reference}:
            return described(document["$defs"][reference.rpartition("/")[2]], document)
        case {"anyOf": parts} | {"oneOf": parts} if "properties" not in part:
            return st.one_of([described(each, document) for each in parts])
        case {"enum": values}:
            return st.sampled_from(values)
        case {"const": value}:
            return st.just(value)
        case {"type": "object"}:
            return objects(part, document)
        case {"type": "array"}:
            return st.lists(described(part.get("items", {}), document), min_size=part.get("minItems", 0), max_size=3)
        case {"type": "string", "pattern": pattern}:
            # Python's `$`, unlike JSON Schema's, also stands before a last line end.
            return st.from_regex(pattern, fullmatch=True).filter(lambda text: not text.endswith("\n"))
        case {"type": "string"}:
            return WORDS.filter(lambda text: len(text) >= part.get("minLength", 0))
        case {"type": "integer"}:
            return st.integers(part.get("minimum", -5), part.get("maximum", 5))
        case {"type": "number"}:
            return st.floats(0.01, 5)
        case {"type": "boolean"}:
            return st.booleans()
    return ANYTHING


def objects(part: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    properties = {key: described(each, document) for key, each in part.get("properties", {}).items()}
    chosen = [each["required"][0] for each in part.get("oneOf", ())]
    required = {key: properties.pop(key) for key in part.get("required", ())}
    kinds = [(key, properties.pop(key)) for key in chosen]
    plain = st.fixed_dictionaries(required, optional=properties)
    if not kinds:
        return plain
    return st.sampled_from(kinds).flatmap(
        lambda kind: st.builds(lambda base, options: {**base, kind[0]: options}, plain, kind[1])
    )


@st.composite
def broken(draw: st.DrawFn, whole: st.SearchStrategy[Any]) -> Any:
    """A configuration with up to three of its places changed, renamed, removed or added."""
    data = draw(whole)
    for _ in range(draw(st.integers(0, 3))):
        places = list(ways(data))
        holder, key = draw(st.sampled_from(places)) if places else (None, None)
        if holder is None:
            return draw(ANYTHING)
        match draw(st.sampled_from(["replace", "replace", "rename", "remove", "add"])):
            case "replace":
                holder[key] = draw(ANYTHING)
            case "remove":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                holder[re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key)] = holder.pop(key)
            case "add" if isinstance(holder, dict):
                holder[draw(st.sampled_from(["port", "disk", "name", "colour", "failRatio", "groups"]))] = draw(
                    ANYTHING
                )
    return data


def ways(data: Any) -> Any:
    """Every place in the data as what holds it and the key there."""
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in entries:
        yield data, key
        yield from ways(value)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=broken(described(SCHEMA, SCHEMA)))
def test_the_schema_and_the_loader_agree(data):
    beyond = re.compile("|".join([*NOT_IN_A_SCHEMA, *map(re.escape, told_by_kinds(data))]))
    refused = [message for message in told(data) if not beyond.match(message)]

    assert VALIDATOR.is_valid(data) is (refused == [])


@pytest.mark.parametrize("kind", kinds())
def test_no_option_takes_a_scalar_of_another_type(kind):
    """As the schema has it: a number in quotes is text, and `yes` is not true."""
    (example,) = Document.parse(kinds()[kind].examples[0].encode(), "example").data
    for option in SCHEMA["$defs"][kinds()[kind].__name__]["properties"]:
        for value in ("5", "true", "yes", True, 5, 0.5):
            data = {"checks": [{**example, kind: {**example[kind], option: value}}]}
            if not VALIDATOR.is_valid(data):
                assert told(data), f"{option}: {value!r}"


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=broken(described(SCHEMA, SCHEMA)))
def test_a_complaint_is_about_a_place_in_the_file(data):
    """Or about what is missing in such a place."""
    places = {(): data}
    for holder, key in ways(data):
        (path,) = [path for path, value in places.items() if value is holder]
        places[(*path, key)] = holder[key]
    document = Document("generated", data)
    try:
        document.validated(config._model(), config.rules(document))
    except ConfigError as error:
        for complaint in error.complaints:
            missing = complaint.message == "is required"
            assert (complaint.path[:-1] if missing else complaint.path) in places


@pytest.mark.parametrize("message", NOT_IN_A_SCHEMA)
def test_a_rule_that_no_schema_can_say_is_the_loaders(message):
    data = {"checks": NOT_IN_A_SCHEMA[message]}

    assert VALIDATOR.is_valid(data)
    assert [re.search(message, each) is not None for each in told(data)] == [True]
