"""Accept headers: those of real clients, and unusual ones."""

import re

from hypothesis import strategies as st

from exporter.server.negotiation import HEALTH_JSON

PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3_NATIVE = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"
    "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=underscores;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"

QUALITY = st.sampled_from(
    ["", ";q=0", ";q=0.5", ";q=1", ";q=1.000", ";q=2", ";q=nan", ";q=-0", ";q=", ";Q=0.1", ";q=1e9"]
)
MEDIA = st.sampled_from(
    [
        "*/*",
        "text/*",
        "text/plain",
        "application/*",
        "application/openmetrics-text",
        "application/json",
        HEALTH_JSON,
        "*",
        "/",
        "",
    ]
)
OPTION = st.sampled_from(
    ["", ";version=1.0.0", ";version=0.0.4", ";version=abc", ";version", ';version="', ";charset=utf-8", ";a=b;c"]
)
VALID = st.lists(st.tuples(MEDIA, OPTION, QUALITY).map("".join), max_size=8).map(",".join)
GARBAGE = st.text(max_size=200) | st.text(',;="/*q. \t', max_size=400)
HUGE = st.builds(lambda piece, times: (piece * times)[:16_384], GARBAGE, st.integers(1, 16_384))
SIMPLE = st.lists(
    st.tuples(
        st.sampled_from(["*/*", "text/*", "text/plain", "application/*", "application/openmetrics-text", HEALTH_JSON]),
        st.sampled_from(["", ";q=0", ";q=0.5", ";q=0.7", ";q=1"]),
    ).map("".join),
    max_size=5,
)
"""Ranges without parameters: the media range alone decides how specific each is."""
_TOKEN = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=5)
_NAME = st.text("09azAZ-_", min_size=1, max_size=5).filter(lambda name: name.lower() != "q")
_QUOTED = st.text(' ,;=q!az"\\', max_size=8).map(lambda text: '"' + re.sub(r'(["\\])', r"\\\1", text) + '"')
_WEIGHT = st.sampled_from(["", ";q=0", ";q=1", " ; q=0.5", ";\tQ=0.123", ";q=1.000", ";q=0.000"])


def weighted(names: st.SearchStrategy[str], parameters: int = 0) -> st.SearchStrategy[str]:
    """Return lists of these names with weights, as RFC 9110 spells them; with up to so many parameters each."""
    parameter = st.tuples(st.sampled_from([";", " ;\t"]), _NAME, st.just("="), _TOKEN | _QUOTED)
    spelled = st.lists(parameter.map("".join), max_size=parameters)
    item = st.tuples(names, spelled.map("".join), _WEIGHT).map("".join)
    return st.lists(item, max_size=6).map(" ,\t".join)


RANGES = weighted(st.builds("{}/{}".format, _TOKEN, _TOKEN), parameters=3)
"""Media ranges with parameters, as RFC 9110 spells them."""
CODINGS = weighted(st.sampled_from(["gzip", "GZIP", "*", "identity", "br"]))
"""Codings, as RFC 9110 spells them."""
