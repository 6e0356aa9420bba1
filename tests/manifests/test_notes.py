"""`convert` for blackbox_exporter: what is left out, what is refused, and the text of the configuration."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.complaint import ConfigError
from exporter.config.document import Document
from exporter.manifests.blackbox import convert_modules
from exporter.manifests.conversion import Converted, make_conversion
from exporter.manifests.http_module import build
from exporter.manifests.scrapes import Target, parse_target
from exporter.manifests.section import Section

TARGETS = {"http": "https://shop.example:8443/", "tcp": "mail:25", "dns": "10.0.0.1", "grpc": "orders:50051"}
TARGETS |= {"icmp": "10.0.0.1", "websocket": "wss://shop.example/live"}
PLAIN = {"dns": {"query_name": "shop.example", "query_type": "A"}}
# Every option of blackbox_exporter 0.28, of its prober `websocket`, which is newer, and of its HTTP client, each with a
# value that is not the default.
OPTIONS = {
    "http": {
        "valid_status_codes": [204],
        "valid_http_versions": ["HTTP/2.0"],
        "preferred_ip_protocol": "ip4",
        "ip_protocol_fallback": False,
        "skip_resolve_phase_with_proxy": True,
        "no_follow_redirects": True,
        "follow_redirects": False,
        "fail_if_ssl": True,
        "fail_if_not_ssl": True,
        "method": "POST",
        "headers": {"X-Tenant": "shop"},
        "http_headers": {"X-Tenant": {"values": ["shop"]}},
        "fail_if_body_matches_regexp": ["sick"],
        "fail_if_body_not_matches_regexp": ["healthy"],
        "fail_if_body_json_matches_cel": "body.a == 1",
        "fail_if_body_json_not_matches_cel": "body.a == 1",
        "fail_if_header_matches": [{"header": "Server", "regexp": "x"}],
        "fail_if_header_not_matches": [{"header": "Server", "regexp": "x"}],
        "body": "{}",
        "body_file": "/body",
        "basic_auth": {"username": "me", "password": "hunter2"},
        "authorization": {"credentials": "hunter2"},
        "bearer_token": "hunter2",
        "bearer_token_file": "/token",
        "oauth2": {"client_secret": "hunter2"},
        "tls_config": {"insecure_skip_verify": True},
        "proxy_url": "http://proxy",
        "no_proxy": "10.0.0.0/8",
        "proxy_from_environment": True,
        "proxy_connect_header": {"Proxy-Authorization": ["hunter2"]},
        "enable_http2": False,
        "enable_http3": True,
        "compression": "gzip",
        "body_size_limit": "1MB",
        "an_option_of_the_future": 1,
    },
    "tcp": {
        "preferred_ip_protocol": "ip4",
        "ip_protocol_fallback": False,
        "source_ip_address": "10.0.0.2",
        "query_response": [{"expect": "220"}],
        "tls": True,
    },
    "dns": {
        "preferred_ip_protocol": "ip4",
        "ip_protocol_fallback": False,
        "source_ip_address": "10.0.0.2",
        "transport_protocol": "tcp",
        "query_name": "other.example",
        "query_type": "ANY",
        "recursion_desired": False,
        "valid_rcodes": ["NXDOMAIN"],
        "validate_answer_rrs": {"fail_if_matches_regexp": ["x"]},
        "validate_authority_rrs": {"fail_if_matches_regexp": ["x"]},
        "validate_additional_rrs": {"fail_if_matches_regexp": ["x"]},
    },
    "grpc": {
        "tls": True,
        "service": "shop",
        "preferred_ip_protocol": "ip4",
        "ip_protocol_fallback": False,
        "metadata": {"token": ["hunter2"]},
    },
    "icmp": {
        "preferred_ip_protocol": "ip4",
        "ip_protocol_fallback": False,
        "source_ip_address": "10.0.0.2",
        "payload_size": 1472,
        "dont_fragment": True,
        "ttl": 5,
    },
    "websocket": {
        "http_config": {"basic_auth": {"username": "me", "password": "hunter2"}, "proxy_url": "http://proxy"},
        "headers": {"Origin": {"values": ["https://shop.example"]}},
        "query_response": [{"send": "ping"}, {"expect": "^pong"}],
        "preferred_ip_protocol": "ip4",
        "ip_protocol_fallback": False,
    },
}
OF_TLS = ("ca", "ca_file", "cert", "key", "server_name", "min_version", "max_version")


def convert(modules, *words, scrapes=None):
    return convert_modules(
        Document.parse(yaml.safe_dump({"modules": modules}).encode(), "blackbox.yml"), scrapes, words
    )


def convert_one(prober, options, target=None):
    module = {"prober": prober, prober: {**PLAIN.get(prober, {}), **options}}
    return convert({"m": module}, target or TARGETS[prober])


def describe(conversion):
    """The checks without the comments, and the notes."""
    return yaml.safe_load(conversion.text), [(note.path, note.message) for note in conversion.notes]


def test_every_option_is_converted_or_noted():
    ignored = [
        f"{prober}.{name}"
        for prober, options in OPTIONS.items()
        for name, value in options.items()
        if describe(convert_one(prober, {name: value})) == describe(convert_one(prober, {}))
    ]

    assert ignored == []


@pytest.mark.parametrize("prober", ["http", "tcp", "grpc"])
def test_every_option_of_tls_is_converted_or_noted(prober):
    secure = {} if prober == "http" else {"tls": True}
    plain = describe(convert_one(prober, secure))
    ignored = [
        name
        for name in OF_TLS
        if describe(convert_one(prober, {**secure, "tls_config": {name: "/file" if "file" in name else "x"}})) == plain
    ]

    assert ignored == []


def test_every_note_is_a_comment_too():
    for prober, options in OPTIONS.items():
        conversion = convert_one(prober, {name: value for name, value in options.items() if name != "valid_rcodes"})
        words = re.sub(r"\s*\n *# *", " ", conversion.text)
        assert [note.message for note in conversion.notes if note.message not in words] == []


def test_no_secret_is_in_the_text_or_in_a_note():
    everything = convert_one("http", OPTIONS["http"]), convert_one("grpc", OPTIONS["grpc"])
    headers = dict.fromkeys(("Authorization", "Cookie", "X-Api-Key", "X-Auth-Token"), "hunter2")
    with_headers = convert_one("http", {"headers": headers}, "https://me:hunter2@shop.example/")

    for conversion in (*everything, with_headers):
        assert "hunter2" not in conversion.text + "".join(map(str, conversion.notes))
    assert [note.path[-1] for note in with_headers.notes if "headers" in note.path] == [*headers]


def test_a_note_has_the_line_and_the_path():
    text = b"modules:\n  m:\n    prober: http\n    http:\n      compression: gzip\n"
    conversion = convert_modules(Document.parse(text, "blackbox.yml"), None, ["http://shop/"])

    note = "left out: httpGet decodes gzip and deflate without it, and no other compression"
    assert f"blackbox.yml:5: modules.m.http.compression: {note}" in [str(note) for note in conversion.notes]


CONVERTED = [
    ("icmp", {"payload_size": 1472, "dont_fragment": True}, "10.0.0.1",
     {"host": "10.0.0.1", "payloadBytes": 1472, "dontFragment": True}),
    ("icmp", {"payload_size": 70_000}, "2001:db8::1", {"host": "2001:db8::1"}),
    ("websocket", {}, "ws://shop.example", {"host": "shop.example", "port": 80}),
    ("websocket", {"query_response": [{"send": "ping"}, {"expect": "pong"}, {"send": "bye"}]}, "wss://a:8443/b?c",
     {"host": "a", "port": 8443, "path": "/b?c", "scheme": "WSS", "verifyTLS": True, "send": "ping", "expect": "pong"}),
    ("websocket", {"query_response": [{"send": "ping"}]}, "ws://a", {"host": "a", "port": 80}),
    ("websocket", {"headers": {"Origin": {"values": ["x"]}, "Cookie": {"values": ["hunter2"]}},
                   "http_config": {"authorization": {"credentials": "hunter2"}}}, "ws://a",
     {"host": "a", "port": 80, "httpHeaders": [{"name": "Origin", "value": "x"}],
      "bearerToken": {"env": "M_CREDENTIALS"}}),
]  # fmt: skip


@pytest.mark.parametrize(("prober", "options", "target", "converted"), CONVERTED)
def test_a_module_becomes_a_check(prober, options, target, converted):
    conversion = convert_one(prober, options, target)

    assert yaml.safe_load(conversion.text)["checks"][0][prober] == converted
    assert "hunter2" not in conversion.text + "".join(map(str, conversion.notes))


@pytest.mark.parametrize("prober", ["unix"])
def test_a_prober_without_a_kind_is_noted_beside_the_others(prober):
    modules = {"m": {"prober": "tcp"}, "n": {"prober": prober}}
    conversion = convert(modules, "m=mail:25", "n=mail")

    assert len(yaml.safe_load(conversion.text)["checks"]) == 1
    assert "# mail: not converted" in conversion.text
    assert f"no kind does what the prober {prober} does" in conversion.text


@pytest.mark.parametrize(
    ("modules", "words", "message"),
    [
        ({"m": {"prober": "http"}}, [], "has no targets"),
        ({"m": {"prober": "http"}, "n": {"prober": "tcp"}}, ["http://a/"], "which is missing; the file has m, n"),
        ({}, ["http://a/"], "the file has no modules"),
        ({"m": {"prober": "unix"}}, ["a"], "no check can be made"),
        ({"m": {"prober": "icmp"}}, ["a:80"], "the target has a port"),
        ({"m": {"prober": "websocket"}}, ["http://a/"], "is not a URL with the scheme ws or wss"),
        ({"m": {"prober": "tcp"}}, ["a"], "the target has no port"),
        ({"m": {"prober": "tcp"}}, ["a b:80"], "the target is not HOST:PORT"),
        ({"m": {"prober": "http"}}, ["http:///path"], "the target has no host"),
        ({"m": {"prober": "dns", "dns": {"dns_over_tls": True}}}, ["a"], "dns does not use TLS"),
        ({"m": {"prober": "dns", "dns": {"query_class": "CH"}}}, ["a"], "dns queries only the class IN"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_at_all_is_an_error(modules, words, message):
    with pytest.raises(ConfigError) as error:
        convert(modules, *words)

    assert message in str(error.value)


def test_a_duplicate_key_is_an_error():
    with pytest.raises(ConfigError, match="duplicate key"):
        convert_modules(Document.parse(b"modules: {m: {prober: tcp, prober: http}}", "blackbox.yml"), None, ["a:1"])


OF_SMTP = [
    {"expect": "^220 "},
    {"send": "EHLO prober"},
    {"expect": "^250-STARTTLS"},
    {"send": "STARTTLS"},
    {"expect": "^220"},
    {"starttls": True},
]


@pytest.mark.parametrize(
    ("steps", "protocol"),
    [
        (OF_SMTP, "smtp"),
        ([{"send": "HELO a\r"}, {"send": "STARTTLS\r"}, {"starttls": True}], "smtp"),
        ([{"send": ". STARTTLS"}, {"starttls": True}], "imap"),
        ([{"expect": "OK", "send": "stls", "starttls": True}], "pop3"),
        ([{"send": "AUTH TLS"}, {"starttls": True}], None),
    ],
)
def test_the_protocol_of_starttls_is_found_in_what_is_sent(steps, protocol):
    conversion = convert_one("tcp", {"query_response": steps})
    (check,) = yaml.safe_load(conversion.text)["checks"]

    assert check.get("certificate", {}).get("startTLS") == protocol
    assert ("startTLS does not know this protocol" in conversion.text) == (protocol is None)


def test_a_binary_text_to_send_is_left_out_with_its_answer():
    text = b"modules: {m: {prober: tcp, tcp: {query_response: [{send: !!binary AAAA}, {expect_bytes: S}]}}}"
    conversion = convert_modules(Document.parse(text, "blackbox.yml"), None, ["db:5432"])

    assert yaml.safe_load(conversion.text)["checks"][0]["tcpSocket"] == {"host": "db", "port": 5432}
    assert "m.tcp.query_response: left out" in conversion.text


def test_names_are_unique_and_valid():
    words = ["m=shop:1", "m=shop:1", "m=shop:1", "n=shop:1", f"m={'a.' * 60}b:1", f"m={'a.' * 60}b:2", "m=[::1]:1"]
    conversion = convert({"m": {"prober": "tcp"}, "n": {"prober": "tcp"}}, *words)

    names = [check["name"] for check in yaml.safe_load(conversion.text)["checks"]]
    assert names[:4] == ["shop-1", "shop-1-m", "shop-1-2", "shop-1-n"]
    assert len({*names}) == len(words)


def test_a_target_without_a_module_has_the_only_one_or_the_default():
    assert parse_target("http://a/?b=c", ["m"]) == Target("m", "http://a/?b=c")
    assert parse_target("http://a/", ["m", "n"]) == Target("http_2xx", "http://a/")
    assert parse_target("n=http://a/?b=c", ["m", "n"]) == Target("n", "http://a/?b=c")


@pytest.mark.parametrize(
    "url", ["HTTP://shop:81/a", "https://shop/a", "shop:81/a", "http://[::1]:81/a", "http://shop//a"]
)
def test_the_url_becomes_host_port_path_and_scheme(url):
    section = Section(Document.parse(b"{}", "blackbox.yml"), (), [])
    options = build(section, Target("m", url))[0]["httpGet"]

    expected = {
        "HTTP://shop:81/a": ("shop", 81, "/a", "HTTP"),
        "https://shop/a": ("shop", 443, "/a", "HTTPS"),
        "shop:81/a": ("shop", 81, "/a", "HTTP"),
        "http://[::1]:81/a": ("::1", 81, "/a", "HTTP"),
        "http://shop//a": ("shop", 80, "http://shop//a", "HTTP"),
    }[url]
    assert (options["host"], options["port"], options["path"], options.get("scheme", "HTTP")) == expected


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t"), min_size=1, max_size=20)


@given(st.sampled_from(["1e3", "0o17", "on", "null", "~", "-", "- a", "a: b", "#", "1.2.3.4", ".5", "=", "<<"]) | TEXTS)
def test_every_text_is_read_as_it_was_written(text):
    options = {"name": "a", "tcpSocket": {"port": 1, "send": text, "expect": "x"}, "groups": []}
    written = make_conversion("Test.", [Converted(options, ["A note."])], []).text

    assert Document.parse(written.encode(), "health.yml").data == {"checks": [options]}
