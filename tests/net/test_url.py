"""URLs are read as Go's net/url reads them; the tables were compared with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.net.url import Url, build, parse

PARSED = {
    "http://shop.example:80/a?b#c": Url("http", None, "shop.example:80", "/a", "b"),
    "HTTP://Shop.example/A": Url("http", None, "Shop.example", "/A"),
    "http://me:it@shop.example/": Url("http", "me:it", "shop.example", "/"),
    "http://me@a@shop.example/": Url("http", "me@a", "shop.example", "/"),
    "http://[::1]:80/": Url("http", None, "[::1]:80", "/"),
    "http://[fe80::1%25eth0]/": Url("http", None, "[fe80::1%eth0]", "/"),
    "http://shop.example": Url("http", None, "shop.example"),
    "http://shop.example:": Url("http", None, "shop.example:"),
    "http://shop.example?b": Url("http", None, "shop.example", query="b"),
    "http:///a": Url("http", None, "", "/a"),
    "//shop.example/a": Url("", None, "shop.example", "/a"),
    "//a:b:80/": Url("", None, "a:b:80", "/"),
    "///a": Url("", None, "", "///a"),
    "mailto:a@b": Url("mailto", opaque="a@b"),
    "http:a": Url("http", opaque="a"),
    "a+b-c.1:x": Url("a+b-c.1", opaque="x"),
    "/a?": Url(path="/a", query=""),
    "?": Url(query=""),
    "": Url(),
    "*": Url(path="*"),
    "/a:b": Url(path="/a:b"),
    "a/b:c": Url(path="a/b:c"),
    "/%41%2f": Url(path="/%41%2f"),
    "/%41 ": Url(path="/A%20"),
    "/é": Url(path="/%C3%A9"),
    "http://%C3%A9.example/": Url("http", None, "é.example", "/"),
}
REFUSED = (
    *("/%", "/%4", "/%zz", "/a#%zz", "/a\n", "/\x7f", ":a", "1:a", "a%41:b", "é:b"),
    *("http://a b/", "http://a:b/", "http://a:80:80/", "http://a/%zz", "http://%41.example/", "http://a%zz/"),
    *("http://[::1/", "http://[::1]x/", "http://a[::1]/", "http://[1.2.3.4]/", "http://[zz]/", "http://m e@a/"),
    *("http://m%zz@a/", "http://a\\b/", "http://a^b/"),
)


@pytest.mark.parametrize(("text", "expected"), PARSED.items(), ids=map(repr, PARSED))
def test_a_url_has_its_parts(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize("text", REFUSED, ids=repr)
def test_an_invalid_url_is_refused(text):
    with pytest.raises(ValueError, match="invalid URL"):
        parse(text)


HOSTS = {
    "shop.example": ("shop.example", None),
    "shop.example:80": ("shop.example", 80),
    "shop.example:": ("shop.example", None),
    "SHOP.example:080": ("SHOP.example", 80),
    "shop.example:00": ("shop.example", 0),
    f"shop.example:{'0' * 5000}80": ("shop.example", 80),
    f"shop.example:{'9' * 5000}": ("shop.example", 999_999),
    "[::1]": ("::1", None),
    "[::1]:80": ("::1", 80),
    "[fe80::1%eth0]:80": ("fe80::1%eth0", 80),
    "a:b": ("a:b", None),
    "": ("", None),
}


@pytest.mark.parametrize(("host", "expected"), HOSTS.items(), ids=lambda value: repr(value)[:30])
def test_a_host_has_a_name_and_perhaps_a_port(host, expected):
    url = Url("http", None, host)

    assert (url.hostname, url.port) == expected


PAGE = "http://it.example:80/a/b?q"
JOINED = {
    "": "http://it.example:80/a/b?q",
    "#f": "http://it.example:80/a/b?q",
    "?": "http://it.example:80/a/b?",
    "?r": "http://it.example:80/a/b?r",
    "c": "http://it.example:80/a/c",
    "./c": "http://it.example:80/a/c",
    "../c": "http://it.example:80/c",
    "../../../c": "http://it.example:80/c",
    "..": "http://it.example:80/",
    ".": "http://it.example:80/a/",
    "c/": "http://it.example:80/a/c/",
    "c/.": "http://it.example:80/a/c/",
    "c/..": "http://it.example:80/a/",
    "/c": "http://it.example:80/c",
    "/c/../d": "http://it.example:80/d",
    "/c/..//d": "http://it.example:80/d",
    "/c//d": "http://it.example:80/c//d",
    "///c": "http://it.example:80///c",
    "//other.example": "http://other.example",
    "//other.example/c/../d": "http://other.example/d",
    "https://other.example/": "https://other.example/",
    "http://IT.example/c": "http://IT.example/c",
    "mailto:me": "mailto:me",
    "c:d": "c:d",
    "http:c": "http:c",
    "%2e%2e/c": "http://it.example:80/a/%2e%2e/c",
}


@pytest.mark.parametrize(("reference", "expected"), JOINED.items(), ids=map(repr, JOINED))
def test_a_reference_leads_where_it_does_for_go(reference, expected):
    assert str(parse(PAGE).join(parse(reference))) == expected


def test_user_information_is_kept_only_if_the_reference_names_no_host():
    page = parse("http://me:it@it.example/")

    assert page.join(parse("/b")).user == "me:it"
    assert page.join(parse("//it.example/b")).user is None


@pytest.mark.parametrize(
    ("host", "expected"), [("shop.example", "shop.example:80"), ("::1", "[::1]:80"), ("fe80::1%e", "[fe80::1%e]:80")]
)
def test_a_probes_url_joins_host_and_port(host, expected):
    assert build("http", host, 80, "/").host == expected


@pytest.mark.parametrize("host", ["a:b", "[::1]", "a b", "a/b", "a@b", "a?b", "a#b", "fe80::zz", "a\n"])
def test_an_invalid_host_is_refused(host):
    with pytest.raises(ValueError, match="not a host name or an address"):
        build("http", host, 80, "/")


def test_the_public_form_has_no_credentials_and_no_query():
    assert parse("http://me:canary@it.example/a?canary#canary").public == "http://it.example/a"
    assert build("http", "it.example", 80, "/%zz?canary").public == "http://it.example:80/%25zz"


TEXT = st.text(st.sampled_from("ab:/?#%2fz@[].\\ \n\x7fé\udc80&") | st.characters(codec="utf-8"), max_size=30)


@given(TEXT, TEXT)
def test_any_two_texts_are_urls_or_are_refused(one, other):
    try:
        url = parse(one).join(parse(other))
    except ValueError:
        return
    assert not set(url.path) & set(" \n\x00\x7f#?")
    assert isinstance(url.hostname, str)
    assert url.port is None or url.port >= 0


@given(TEXT)
def test_any_path_can_be_requested(path):
    url = build("http", "127.0.0.1", 80, path)

    if url.host:
        assert url.hostname == "127.0.0.1"
        assert url.target.startswith("/")
        assert not set(url.target) & set("\n\x00\x7f#")
    else:
        assert url.opaque or path.endswith(":")


def test_an_address_without_its_closing_bracket_is_named():
    with pytest.raises(ValueError, match=r"invalid URL: '\[' without '\]'"):
        parse("http://[::1/x")
