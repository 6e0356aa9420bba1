"""A configuration file: the Checks it becomes, and every complaint about a file that is not valid."""

from pathlib import Path
from textwrap import dedent
from typing import get_args

import pytest
from config.loading import complaints_about

from exporter.config.checks import load
from exporter.config.complaint import ConfigError
from exporter.kinds import kinds
from exporter.model import Group, Severity, Spec
from exporter.probe.secret import Secret

HERE = Path(__file__).parents[1]

# Each file breaks one rule. The complaints are all that the exporter reports, without the file's name.
COMPLAINTS = {
    "alias_bomb": """
    :1: has more than 200000 values, counting those that aliases repeat
    """,
    "alias_of_itself": """
    :1: checks[0]: contains itself through an alias; remove the alias
    """,
    "alias_of_itself_in_a_merge": """
    :2: checks[0]: contains itself through an alias; remove the alias
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
    :2: not UTF-8 text: contains the byte 0x80; save the file as UTF-8
    """,
    "bracket_not_closed": """
    :3: not YAML: a '{' is not closed, or a ',' is missing
    """,
    "bracket_not_closed_until_the_end": """
    :2: not YAML: a '[' is not closed, or a ',' is missing, in the part that begins on line 1
    """,
    "check_is_a_word": """
    :2: checks[0]: must be a mapping of keys to values, not text
    """,
    "check_is_empty": """
    :2: checks[0]: is empty, but must be a mapping of keys to values
    """,
    "checks_empty": """
    :1: checks: is empty, but must be a list
    """,
    "checks_is_a_mapping": """
    :1: checks: must be a list, not a mapping
    """,
    "checks_missing": """
    :1: checks: is required
    """,
    "checks_misspelled": """
    :1: cheks: unknown key, did you mean checks?
    """,
    "colon_in_a_value": """
    :2: not YAML: an unexpected ':', or a line that is indented too far; put text that contains ': ' in quotes
    """,
    "command_is_text": """
    :3: checks[0].exec.command: must be a list, not text of 16 characters: write [PROGRAM, ARGUMENT, ...], or \
[sh, -c, COMMAND] for a shell
    """,
    "command_of_numbers": """
    :3: checks[0].exec.command[1]: must be text, not a number: put it in quotes
    """,
    "control_character": """
    :2: not YAML: contains the character U+001B; remove it
    """,
    "buckets_not_ascending": """
    :4: checks[0].latencyBuckets: must be in ascending order, each bound once
    """,
    "depends_in_a_cycle": """
    :4: checks[0].dependsOn[0]: is part of a cycle: the check on line 5 depends on this one
    :7: checks[1].dependsOn[0]: is part of a cycle: the check on line 2 depends on this one
    """,
    "depends_on_itself": """
    :4: checks[0].dependsOn[0]: a check cannot depend on itself
    """,
    "depends_on_an_unknown_check": """
    :4: checks[0].dependsOn[0]: no check has this name
    """,
    "duplicate_key": """
    :4: checks[0].name: duplicate key, first used on line 2
    """,
    "duplicate_key_at_the_top": """
    :2: checks: duplicate key, first used on line 1
    """,
    "empty": """
    : is empty
    """,
    "everything_at_once": """
    :3: checks[0].periodSeconds: must be at least 0, not -1
    :4: checks[0].httpGet.port: must be a whole number, not text of 4 characters: only the kubelet knows the names of \
ports
    :4: checks[0].httpGet.pth: unknown key, did you mean path?
    :5: checks[0].name: duplicate key, first used on line 2
    :6: checks[1].name: is required
    :6: checks[1].timeoutSeconds: must be a whole number, not 1.5
    :7: checks[1].disk.failRatio: must be greater than 0, not 0
    :8: checks[1].groups[1]: must be 'liveness', 'readiness', 'startup' or 'all', not text of 5 characters
    :9: checks[1].successThreshold: must be 1 for a check in the group liveness, as in Kubernetes
    """,
    "expect_status": """
    :2: checks[0].httpGet.expectStatus[0]: must be at least 100, not 20
    :2: checks[0].httpGet.expectStatus[1]: must be at most 999, not 1000
    :2: checks[0].httpGet.expectStatus[2]: must be a whole number, not 200.0
    :2: checks[0].httpGet.expectStatus[3]: must be a whole number, not text of 3 characters
    :3: checks[1].httpGet.expectStatus: must not be empty
    :4: checks[2].httpGet.expectStatus: must be a list, not a number
    """,
    "group_unknown": """
    :4: checks[0].groups[0]: must be 'liveness', 'readiness', 'startup' or 'all', not text of 9 characters
    :4: checks[0].groups[1]: must be 'liveness', 'readiness', 'startup' or 'all', did you mean 'liveness'?
    """,
    "groups_are_a_word": """
    :4: checks[0].groups: must be a list, not text of 8 characters: put it in brackets
    """,
    "headers_are_a_mapping": """
    :3: checks[0].httpGet.httpHeaders: must be a list, not a mapping
    """,
    "wrong_indentation": """
    :3: not YAML: a line is not indented like the lines around it, in the part that begins on line 2
    """,
    "inherited_by_a_merge": """
    :4: checks[0].periodSeconds: must be a whole number, not text of 4 characters
    :4: checks[1].periodSeconds: must be a whole number, not text of 4 characters
    """,
    "key_in_another_case": """
    :3: checks[0].httpget: unknown key, did you mean httpGet?
    :4: checks[0].period_seconds: unknown key, did you mean periodSeconds?
    """,
    "key_is_a_list": """
    :4: checks[0]: a key must be text; if this is a template's {{ }}, render the template first
    """,
    "key_not_indented": """
    :4: not YAML: a line is not indented like the lines around it, in the part that begins on line 2
    """,
    "key_that_belongs_one_level_up": """
    :5: checks[0].httpGet.periodSeconds: unknown key here; it belongs one level up, next to httpGet
    """,
    "key_that_belongs_inside": """
    :4: checks[0].expectStatus: unknown key here; it belongs inside httpGet
    """,
    "key_with_a_line_end": """
    :2: <3 characters>: unknown key
    """,
    "key_without_a_colon": """
    :4: not YAML: a key has no ':', in the part that begins on line 3
    """,
    "kind_is_a_number": """
    :3: checks[0].httpGet: must be a mapping of keys to values, not a number
    """,
    "kind_is_empty": """
    :3: checks[0].loadAverage: is empty: write loadAverage: {} for its defaults
    :5: checks[1].httpGet: is empty: write httpGet: {port: ...}
    """,
    "kind_unknown": """
    :2: checks[0]: has no kind: add one of KINDS
    :3: checks[0].smokeSignal: unknown key
    """,
    "merge_bomb": """
    :1: has more than 200000 values, counting those that aliases repeat
    """,
    "merge_of_a_chain": """
    :1: nested deeper than 20 levels, counting aliases
    """,
    "merge_of_a_scalar": """
    :2: checks[0]: '<<' takes a mapping or a list of mappings
    """,
    "name_bad": """
    :2: checks[0].name: must be letters, digits, '-', '_' and '.', with a letter or digit at both ends
    :3: checks[1].name: must be letters, digits, '-', '_' and '.', with a letter or digit at both ends
    :4: checks[2].name: must be letters, digits, '-', '_' and '.', with a letter or digit at both ends, not empty text
    :5: checks[3].name: must be letters, digits, '-', '_' and '.', with a letter or digit at both ends
    :6: checks[4].name: ends with a line break: write it on the line of its key, or with |- instead of |
    """,
    "name_empty": """
    :2: checks[0].name: is empty, but must be text
    """,
    "name_is_a_number": """
    :2: checks[0].name: must be text, not a number: put it in quotes
    """,
    "name_long": """
    :2: checks[0].name: must have at most 63 characters, not text of 64 characters
    """,
    "name_missing": """
    :2: checks[0].name: is required
    """,
    "name_of_a_server_is_invalid": """
    :2: checks[0].certificate.serverName: must be a name or an address: no scheme, port, brackets or empty label
    :3: checks[1].httpGet.serverName: must be a name or an address: no scheme, port, brackets or empty label
    :4: checks[2].grpc.host: must be a name or an address: no scheme, port, brackets or empty label
    :5: checks[3].redis.host: must be a name or an address: no scheme, port, brackets or empty label
    """,
    "name_taken": """
    :4: checks[2].name: the name is already used by the check on line 2
    """,
    "nested_too_deep": """
    :1: nested deeper than 20 levels
    """,
    "no_kind": """
    :2: checks[0]: has no kind: add one of KINDS
    """,
    "not_a_number": """
    :4: checks[0].periodSeconds: must be a whole number, not text of 3 characters: write the number without a unit
    :5: checks[0].timeoutSeconds: must be a whole number, not text of 3 characters
    :6: checks[0].failureThreshold: must be a whole number, not true
    :7: checks[0].successThreshold: must be a whole number, not a list
    :8: checks[0].initialDelaySeconds: must be a whole number, not text of 4 characters
    """,
    "not_utf8": """
    :2: not UTF-8 text: contains the byte 0xe9; save the file as UTF-8
    """,
    "not_whole": """
    :4: checks[0].periodSeconds: must be a whole number, not 1.5
    :5: checks[0].timeoutSeconds: must be a whole number, not 1.0
    """,
    "nul": """
    :2: not YAML: contains the character U+0000; remove it
    """,
    "nul_by_escape": """
    :3: checks[0].exec.command[1]: contains the character U+0000, which no name, path or argument can contain
    """,
    "number_empty": """
    :4: checks[0].periodSeconds: is empty, but must be a whole number
    """,
    "number_infinite": """
    :4: checks[0].periodSeconds: must be a whole number, not .inf
    """,
    "number_of_many_digits": """
    :4: checks[0].periodSeconds: must have at most 40 digits, not 50
    """,
    "only_comments": """
    : is empty
    """,
    "quote_not_closed": """
    :3: not YAML: a quote is not closed, in the part that begins on line 2
    """,
    "ratio": """
    :2: checks[0].disk.failRatio: must be greater than 0, not 0
    :3: checks[1].disk.failRatio: must be greater than 0, not -0.5
    :4: checks[2].disk.failRatio: must be a finite number, not .nan
    :5: checks[3].disk.failRatio: must be a finite number, not .inf
    :6: checks[4].disk.failRatio: must be a number, not text of 3 characters: write the number without a unit
    :7: checks[5].disk.failRatio: must be a number, not text of 3 characters: remove the quotes
    :8: checks[6].disk.failRatio: is empty, but must be a number
    :9: checks[7].disk.warnRatio: must be a number, not true
    """,
    "root_is_a_list": """
    :1: must be a mapping of keys to values, not a list: write checks: above the list
    """,
    "root_is_a_scalar": """
    :1: must be a mapping of keys to values, not text
    """,
    "secret_written_out": """
    :3: checks[0].httpGet.httpHeaders[0]: must be a mapping of keys to values, not text
    :5: checks[1].httpGet.bearerToken: must be {env: NAME} or {file: PATH}, not text: a secret is not written in the \
configuration
    :7: checks[2].httpGet.basicAuth.password: is empty, but must be {env: NAME} or {file: PATH}
    """,
    "several_documents": """
    :2: a second YAML document begins here; only one is allowed
    """,
    "severity_unknown": """
    :4: checks[0].severity: must be 'critical', 'warning' or 'info', not text of 4 characters
    """,
    "stale_after_below_the_period": """
    :2: checks[0].staleAfterSeconds: must be at least periodSeconds (10), or every result goes stale before the next
    :3: checks[1].staleAfterSeconds: must be at least periodSeconds (30), or every result goes stale before the next
    :4: checks[2].staleAfterSeconds: must be at least periodSeconds (10), or every result goes stale before the next
    """,
    "stale_after_zero": """
    :4: checks[0].staleAfterSeconds: must be at least 1, not 0
    """,
    "tab_indents": """
    :2: not YAML: indentation must use spaces, not tabs
    """,
    "tab_indents_later": """
    :3: not YAML: indentation must use spaces, not tabs, in the part that begins on line 2
    """,
    "tag_that_does_not_match": """
    :4: checks[0].periodSeconds: does not match its tag !!int: correct the value, or remove the tag
    """,
    "template_not_rendered": """
    :3: checks[0].httpGet.port: a key must be text; if this is a template's {{ }}, render the template first
    """,
    "two_kinds": """
    :2: checks[0]: has more than one kind, httpGet and tcpSocket: write a separate check for each
    """,
    "unknown_alias": """
    :1: not YAML: an alias without its anchor; put a value that begins with * in quotes
    """,
    "unknown_escape": """
    :2: not YAML: an unknown escape; in single quotes, \\ has no special meaning
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
    :2: not YAML: an escape that is not a valid character
    """,
    "unsupported_tag": """
    :3: checks[0].disk.path: has an unsupported tag: remove it, or put a value that begins with ! in quotes
    """,
    "unsupported_tag_of_a_list": """
    :1: checks: has an unsupported tag: remove it, or put a value that begins with ! in quotes
    """,
    "utf16": """
    :1: UTF-16 text, as `>` in Windows PowerShell writes it: save the file as UTF-8
    """,
    "v10_scheme_in_lower_case": """
    :3: checks[0].httpGet.scheme: must be 'HTTP' or 'HTTPS', did you mean 'HTTPS'?
    """,
    "v11_host_is_invalid": """
    :2: checks[0].httpGet.host: must be a name or an address, without a scheme or a path: write them in options of \
their own
    :3: checks[1].tcpSocket.host: must be a name or an address: no scheme, port, brackets or empty label, not empty text
    :4: checks[2].tcpSocket.host: must be a name or an address, without brackets
    """,
    "v12_header_name": """
    :6: checks[0].httpGet.httpHeaders[0].name: must be letters, digits and '-'
    :7: checks[0].httpGet.httpHeaders[1].name: must be letters, digits and '-', not empty text
    :8: checks[0].httpGet.httpHeaders[2].name: is required
    """,
    "v13_header_value_is_a_number": """
    :3: checks[0].httpGet.httpHeaders[0].value: must be text, not a number: put it in quotes
    """,
    "v14_command_empty": """
    :3: checks[0].exec.command: must not be empty
    """,
    "v14_command_missing": """
    :3: checks[0].exec.command: is required
    """,
    "v16_termination_grace_period": """
    :4: checks[0].terminationGracePeriodSeconds: keep it in the manifest's probe: only the kubelet stops the application
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
    :4: checks[0].successThreshold: must be a whole number, not text of 1 character: remove the quotes
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
    :3: checks[0].httpGet.port: must be a whole number, not text of 4 characters: remove the quotes
    """,
    "v6_port_missing": """
    :2: checks[0].httpGet.port: is required
    :3: checks[1].tcpSocket.port: is required
    """,
    "v6_port_name": """
    :3: checks[0].httpGet.port: must be a whole number, not text of 4 characters: only the kubelet knows the names of \
ports
    """,
    "v6_port_range": """
    :2: checks[0].httpGet.port: must be at least 1, not 0
    :3: checks[1].httpGet.port: must be at most 65535, not 65536
    :4: checks[2].tcpSocket.port: must be at least 1, not -1
    :5: checks[3].tcpSocket.port: must be a whole number, not 80.0
    """,
    "v9_path_is_a_number": """
    :3: checks[0].httpGet.path: must be text, not a number: put it in quotes
    """,
    "value_begins_with_a_reserved_character": """
    :2: not YAML: put a value that begins with @ in quotes
    """,
    "window": """
    :3: checks[0].loadAverage.window: must be '1m', '5m' or '15m', not text of 3 characters
    """,
    "block_of_a_path": """
    :4: checks[0].file.path: ends with a line break: write it on the line of its key, or with |- instead of |
    :8: checks[1].disk.path: ends with a line break: write it on the line of its key, or with |- instead of |
    :12: checks[2].process.pidFile: must be a single line
    :16: checks[3].httpGet.unixSocket: ends with a line break: write it on the line of its key, or with |- instead of \
|
    :19: checks[3].httpGet.bearerToken.file: ends with a line break: write it on the line of its key, or with |- \
instead of |
    :24: checks[4].certificate.caFile: ends with a line break: write it on the line of its key, or with |- instead of \
|
    """,
    "check_alone": """
    :1: httpGet: belongs in the list checks: - {name: NAME, httpGet: {path: ..., port: 8080}, periodSeconds: 3}
    """,
    "codes_are_a_range": """
    :3: checks[0].httpGet.expectStatus: must be a list, not text of 7 characters: write each code, such as [200, 204]
    :3: checks[0].httpGet.verifyTLS: must be true or false, not text of 4 characters: remove the quotes
    """,
    "command_of_redis_is_text": """
    :2: checks[0].redis.command: must be a list, not text of 10 characters: write each word as an entry, [COMMAND, \
ARGUMENT, ...]
    """,
    "configuration_of_prometheus": """
    :1: is a configuration of Prometheus; write checks: [{name: NAME, httpGet: {path: ..., port: ...}}]
    """,
    "healthcheck_alone": """
    :1: healthcheck: is a healthcheck of Compose; write it as a check: - {name: NAME, exec: {command: [...]}, \
periodSeconds: 90, failureThreshold: 3}
    """,
    "healthcheck_of_compose": """
    :4: services.web.healthcheck: is a healthcheck of Compose; write it as a check: - {name: NAME, exec: {command: \
[...]}, initialDelaySeconds: 60, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 3}
    :12: services.db.healthcheck: is a healthcheck of Compose; write it as a check: - {name: NAME, exec: {command: \
[sh, -c, ...]}}
    """,
    "host_of_a_shell": """
    :2: checks[0].redis.host: must be a name or an address; an environment variable is written $(NAME)
    :3: checks[1].postgresql.host: must be a name or an address; an environment variable is written $(NAME)
    :4: checks[2].httpGet.host: must be a name or an address: render the template first
    """,
    "host_is_not_a_name": """
    :2: checks[0].tcpSocket.host: must be a name or an address, without a port: write it in the option port
    :3: checks[1].redis.host: must be a name or an address, without a port: write it in the option port
    :4: checks[2].certificate.host: must be a name or an address, without a port: write it in the option port
    :4: checks[2].certificate.serverName: must be a name or an address, without a port: write it in the option port
    :5: checks[3].dns.server: must be a name or an address, without a port: write it in the option port
    :6: checks[4].httpGet.host: must be a name or an address, without a scheme or a path: write them in options of \
their own
    :7: checks[5].certificate.serverName: must be a name or an address: no scheme, port, brackets or empty label
    :8: checks[6].certificate.host: must be a name or an address: no scheme, port, brackets or empty label
    """,
    "host_with_hidden_characters": """
    :2: checks[0].redis.host: contains the invisible character U+200B (zero width space): delete it
    :3: checks[1].redis.host: contains U+00A0 (no-break space) instead of a plain space
    :4: checks[2].redis.host: “ is part of the value: YAML's quotation marks are " and '
    :7: checks[3].redis.host: ends with a line break: write it on the line of its key, or with |- instead of |
    """,
    "key_with_hidden_characters": """
    :2: checks[0].<6 characters>: unknown key: it contains the invisible character U+200B (zero width space): delete it
    :3: checks[1].<7 characters>: unknown key: it contains U+00A0 (no-break space) instead of a plain space
    :3: checks[1].name: is required
    """,
    "manifest": """
    :10: spec.template.spec.containers[0].livenessProbe: is a probe of a manifest; write it as a check: - {name: NAME, \
httpGet: {path: ..., port: ...}, periodSeconds: 5, groups: [liveness]}; `health-exporter convert FILE` prints all of \
them
    :13: spec.template.spec.containers[0].startupProbe: is a probe of a manifest; write it as a check: - {name: NAME, \
grpc: {port: 50051}, groups: [startup]}; `health-exporter convert FILE` prints all of them
    """,
    "manifest_without_a_probe": """
    :1: is a Kubernetes manifest without a probe; write checks: [{name: NAME, httpGet: {path: ..., port: ...}}]
    """,
    "modules_of_blackbox_exporter": """
    :2: modules.http_2xx: is a module of blackbox_exporter; write a check for each target; `health-exporter convert \
FILE` prints all of them
    :8: modules.ssh: is a module of blackbox_exporter; write a check for each target; `health-exporter convert \
FILE` prints all of them
    :11: modules.names: is a module of blackbox_exporter; write a check for each target; `health-exporter convert \
FILE` prints all of them
    :14: modules.ping: is a module of blackbox_exporter; write a check for each target; `health-exporter convert \
FILE` prints all of them
    """,
    "owner_and_runbook": """
    :4: checks[0].owner: must be a single line, without control characters
    :5: checks[0].description: must be text, not a list
    :6: checks[0].runbookUrl: must be a URL that begins with http:// or https://, without spaces and without a user
    :9: checks[1].owner: must have at most 100 characters, not text of 101 characters
    :10: checks[1].runbookUrl: must be a URL that begins with http:// or https://, without spaces and without a user
    """,
    "probe_of_a_manifest": """
    :1: livenessProbe: is a probe of a manifest; write it as a check: - {name: NAME, httpGet: {path: ..., port: 8080, \
httpHeaders: [...]}, initialDelaySeconds: 3, periodSeconds: 3, groups: [liveness]}
    """,
    "probe_of_a_manifest_in_a_check": """
    :3: checks[0].livenessProbe: is a probe of a manifest; write it as a check: - {name: NAME, tcpSocket: {port: \
8080}, failureThreshold: 5, groups: [liveness]}
    :7: checks[1].name: is required
    :7: checks[1].readinessProbe: is a probe of a manifest; write it as a check: - {name: NAME, exec: {command: \
[...]}, groups: [readiness]}
    """,
    "utf16_without_a_mark": """
    :1: UTF-16 text, as `>` in Windows PowerShell writes it: save the file as UTF-8
    """,
    "variable_in_a_number": """
    :3: checks[0].httpGet.port: must be a whole number, not text of 7 characters: write the number itself, not a \
variable or a template
    :4: checks[0].periodSeconds: must be a whole number, not text of 9 characters: write the number itself, not a \
variable or a template
    :6: checks[1].tcpSocket.port: must be a whole number, not text of 18 characters: write the number itself, not a \
variable or a template
    :8: checks[2].disk.failRatio: must be a number, not text of 6 characters: write the number itself, not a variable \
or a template
    """,
    "variable_not_set": """
    :2: checks[0].httpGet.host: the environment variable HEALTH_TEST_HOST is not set
    :2: checks[0].httpGet.path: the environment variables HEALTH_TEST_PATH, HEALTH_TEST_ID are not set
    :3: checks[1].promql.url: the environment variable HEALTH_TEST_HOST is not set
    :4: checks[2].disk.path: the environment variable HEALTH_TEST_PATH is not set
    :4: checks[2].periodSeconds: must be at least 0, not -1
    :5: checks[3].redis.host: the environment variable (text of 5 characters) is not set
    :5: checks[3].redis.password.file: the environment variable HEALTH_TEST_PATH is not set
    """,
    "variable_of_a_secret": """
    :5: checks[0].redis.password.env: ends with a line break: write it on the line of its key, or with |- instead of |
    :7: checks[1].redis.password.env: must be the name of an environment variable, such as DB_PASSWORD, without $, \
braces or spaces
    :8: checks[2].redis.password.env: must be the name of an environment variable, such as DB_PASSWORD, without $, \
braces or spaces
    :9: checks[3].redis.password.env: must be the name of an environment variable, such as DB_PASSWORD, without $, \
braces or spaces
    :10: checks[4].redis.password.env: “ is part of the value: YAML's quotation marks are " and '
    """,
    "words_of_other_tools": """
    :4: checks[0].interval: unknown key: write periodSeconds: 90
    :5: checks[0].timeout: unknown key: write timeoutSeconds: 1
    :6: checks[0].retries: unknown key: write failureThreshold: 3
    :7: checks[0].start_period: unknown key: write initialDelaySeconds: 5
    :9: checks[1].httpGet.timeout: unknown key: write timeoutSeconds: 5, one level up, next to httpGet
    :9: checks[1].httpGet.url: unknown key: write host, port, path and, for https, scheme: HTTPS
    :10: checks[1].scrape_interval: unknown key, did you mean periodSeconds?
    :12: checks[2].tcpSocket.address: unknown key: write host and port
    :13: checks[3]: has no kind: add one of KINDS
    :14: checks[3].url: unknown key: write a kind, such as httpGet: {host: ..., port: ..., path: ...}
    :15: checks[4].host: unknown key here; it belongs inside ONES_WITH_A_HOST
    :15: checks[4].module: unknown key: write a kind, such as httpGet: {host: ..., port: ..., path: ...}
    :15: checks[4]: has no kind: add one of KINDS
    :16: checks[5].type: unknown key: write a kind, such as httpGet: {host: ..., port: ..., path: ...}
    :16: checks[5]: has no kind: add one of KINDS
    """,
}


def complaints(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(path)
    return str(refused.value).splitlines()


def test_the_table_has_every_bad_file():
    assert {path.stem for path in (HERE / "bad").iterdir()} == set(COMPLAINTS)


@pytest.mark.parametrize("name", COMPLAINTS)
def test_a_bad_file_has_exactly_these_complaints(name, monkeypatch):
    monkeypatch.chdir(HERE)
    with_host = " or ".join(kind for kind, probe in kinds().items() if "host" in probe.model_fields)
    text = dedent(COMPLAINTS[name]).replace("ONES_WITH_A_HOST", with_host).replace("KINDS", ", ".join(kinds()))
    expected = text.strip().splitlines()

    assert complaints(Path(f"bad/{name}.yml")) == [f"bad/{name}.yml{line}" for line in expected]


def test_no_complaint_uses_the_words_of_python_or_pydantic():
    """They mean nothing to an author of YAML."""
    words = ("None", "Input", "must be a valid", "tuple", "frozenset", "BaseModel", "instance", "pydantic", "Error")

    assert [(name, word) for name, text in COMPLAINTS.items() for word in words if word in text] == []


def test_a_file_that_cannot_be_read_has_one_complaint(tmp_path):
    assert complaints(tmp_path / "none.yml") == [f"{tmp_path}/none.yml: cannot be read: No such file or directory"]


@pytest.mark.parametrize("path", ["~/health.yml", "$HOME/health.yml", "*.yml"])
def test_the_path_of_a_shell_is_explained(path):
    hint = "only a shell replaces ~, $ and *"

    assert complaints(Path(path)) == [f"{path}: cannot be read: No such file or directory; {hint}"]


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
    "owner_and_runbook": {
        "api": {
            "owner": "shop",
            "description": "Orders wait until it is back.",
            "runbook_url": "https://runbooks.example:8443/api?a=1#step-2",
        },
        "rendered": {"owner": "", "description": "", "runbook_url": ""},
    },
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


def test_the_table_has_every_good_file():
    assert {path.name.removesuffix(".yml") for path in (HERE / "good").iterdir()} == set(GOOD)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_becomes_these_checks(name):
    specs = {check.spec.name: check.spec for check in load(HERE / "good" / f"{name}.yml").checks}
    fields = {check: {field: getattr(specs[check], field) for field in GOOD[name].get(check, ())} for check in specs}

    assert fields == GOOD[name]


def test_the_defaults_are_those_of_kubernetes():
    (check,) = load(HERE / "good" / "byte_order_mark.yml").checks

    assert check.spec == DEFAULT


def test_without_a_file_the_exporter_watches_its_own_machine():
    assert [(check.spec.name, check.spec.kind) for check in load().checks] == [
        ("load", "loadAverage"),
        ("memory", "memory"),
        ("disk", "disk"),
    ]


def test_the_probe_of_a_check_is_of_its_kind():
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
    "value", ["s3cret", ["s3cret"], {"value": "s3cret"}, {"env": ["s3cret"]}, {"file": ["s3cret"]}]
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(kind, option, value):
    complaints = complaints_about({"checks": [{"name": "a", kind: {option: value}}]})

    assert complaints
    assert "s3cret" not in " ".join(complaints)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [("", {Group.ALL}), (", groups: [readiness]", {Group.READINESS, Group.ALL}), (", groups: []", {Group.ALL})],
    ids=["none configured", "readiness", "empty"],
)
def test_a_certificate_is_in_a_group_only_if_it_is_configured_there(tmp_path, groups, expected):
    path = tmp_path / "health.yml"
    path.write_text(f"checks: [{{name: tls, certificate: {{host: shop.example}}{groups}}}]\n")
    (check,) = load(path).checks

    assert check.spec.groups == expected
