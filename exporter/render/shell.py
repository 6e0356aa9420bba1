"""What the status page and the page of a check have in common: the frame, the style and the script."""

import base64
import hashlib

from exporter import __version__
from exporter.model import Identity, Snapshot, Status, Vitals
from exporter.render.html import NOTHING, Html, fill, fill_if, fill_names, join, read, show_time
from exporter.render.words import format_moment
from exporter.text import format_count, replace_surrogates

REFRESH = 10
"""Seconds until a page without JavaScript is loaded again."""

_PAGE, _STYLE, _SCRIPT = (read(name) for name in ("page.html", "page.css", "page.js"))
_COLORS = {Status.PASS: "1f8a4c", Status.WARN: "d99a1c", Status.FAIL: "d0342c", Status.UNKNOWN: "7566d6"}
_ICON = (
    "data:image/svg+xml,"
    "%3Csvg xmlns='http://www.w3.org/2000/svg'%3E%3Ccircle cx='8' cy='8' r='7' fill='%23{}'/%3E%3C/svg%3E"
)
_REFRESH = '<noscript><meta http-equiv="refresh" content="%s"></noscript>\n'
_HOLD = """<p class="alarm">Restarts are suspended: /livez returns 200 until %s, whatever its checks say. Reason: %s</p>
"""
_LIVE = '<p id="live" role="status"><noscript>refreshes every %s s</noscript></p>\n<script>%s</script>\n'


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_hash(_STYLE)}'; script-src 'sha256-{_hash(_SCRIPT)}'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def render(
    snapshot: Snapshot,
    now: float,
    *,
    title: str,
    status: Status,
    identity: Identity,
    live: bool,
    header: Html,
    main: Html,
    footer: Html,
) -> str:
    """Return a page. If it is `live`, it keeps itself up to date."""
    text = fill_names(
        _PAGE,
        {
            "refresh": fill(_REFRESH, REFRESH) if live else NOTHING,
            "title": " · ".join(filter(None, (title, identity.host, "Health Exporter"))),
            "icon": Html(_ICON.format(_COLORS[status])),
            "style": Html(_STYLE),
            "header": header,
            "main": main,
            "footer": footer,
            "now": f"{now:.3f}",
            "version": __version__,
            "generation": snapshot.generation,
            "time": format_moment(snapshot.timestamp),
            "live": fill(_LIVE, REFRESH, Html(_SCRIPT)) if live else NOTHING,
        },
    )
    return replace_surrogates(text)  # a single lone surrogate would make the whole page fail


def render_conditions(snapshot: Snapshot, vitals: Vitals, now: float) -> Html:
    """Render what is wrong with the exporter itself: a hold, a shutdown, a rejected file."""
    hold = snapshot.hold
    held = fill(_HOLD, show_time(hold.until, now), hold.why) if hold else NOTHING
    shutdown = Html('<p class="alarm">Shutting down: /readyz returns 503.</p>\n') if snapshot.draining else NOTHING
    conditions = held + shutdown
    if not vitals.complaint:
        return conditions
    consequence = (
        "The configuration is not loaded: /readyz returns 503 until it is valid."
        if snapshot.degraded
        else "A file was not loaded. The previous one stays in use."
    )
    moment = fill(" Rejected at %s:", show_time(vitals.complaint_time, now)) if vitals.complaint_time else NOTHING
    errors = join(fill("<li>%s</li>", line) for line in vitals.complaint.splitlines())
    return conditions + fill('<section class="alarm"><p>%s%s</p><ul>%s</ul></section>\n', consequence, moment, errors)


def render_identity(snapshot: Snapshot, vitals: Vitals, now: float) -> Html:
    """Render which exporter this is."""
    identity, checks = vitals.identity, format_count(len(snapshot.states), "check")
    if not identity.host:
        return NOTHING
    loaded = fill_if(", loaded at %s", vitals.reload_time and show_time(vitals.reload_time, now))
    started = fill_if(", started at %s", identity.started and show_time(identity.started, now))
    return fill("<p><b>%s</b>: %s, %s%s%s</p>\n", identity.host, identity.file, checks, loaded, started)
