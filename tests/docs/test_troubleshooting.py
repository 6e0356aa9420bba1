"""What docs/troubleshooting.md quotes is what Health Exporter prints."""

import re

import commands
import pytest
from docs.pages import ROOT
from kinds.servers import serving
from make import FAIL, UNKNOWN, check
from stage import Stage, served
from support import free_port

from exporter.keeper.answers import Request, respond

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()


def list_quotes(section: str) -> list[str]:
    """The messages in the first column of a section's table, as patterns: a word in capitals is any text."""
    text = re.search(rf"^#+ {section}\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert text is not None
    cells = re.findall(r"^\| `([^`]+)`", text[1], re.MULTILINE)
    return [re.sub(r"\b[A-Z]{4,}\b|\\\.\\\.\\\.", ".*", re.escape(cell)) for cell in cells]


def ask(url: str) -> str:
    done = commands.run("ask", "readyz", "-v", "--url", url, "--timeout", "30")
    return done.stdout + done.stderr


def ask_stage(made: Stage) -> str:
    with served(made.dispatch()) as url:
        return ask(url)


@pytest.fixture(scope="module")
def printed() -> str:
    """What `ask` prints in every case."""
    ready, failed, degraded, draining = Stage(), Stage(), Stage(), Stage()
    failed.watch(check("api", failure_threshold=1), check("db"))
    failed.conclude("api", FAIL)
    failed.conclude("db", UNKNOWN)
    degraded.store.degrade()
    draining.watch()
    draining.store.drain()
    texts = [ask_stage(made) for made in (ready, failed, degraded, draining)]
    for condition in ("starting", "restarting"):
        with serving((respond(Request(b"GET /readyz?format=json HTTP/1.1"), condition),)) as server:
            texts.append(ask(f"http://127.0.0.1:{server.port}"))
    return "\n".join([*texts, ask(f"http://127.0.0.1:{free_port()}")])


@pytest.mark.parametrize("quote", list_quotes("What `ask` prints"))
def test_ask_prints_what_the_page_quotes(printed, quote):
    assert re.search(quote, printed), printed


def test_the_messages_outside_kubernetes_are_those_of_the_code():
    source = "".join(path.read_text() for path in ROOT.glob("exporter/**/*.py"))
    parts = ["cannot listen", "the request failed", "expected 200 or 503", "returned 401", "requires the extra"]

    assert all(part in source for part in parts)
    assert all(any(part in quote.replace("\\", "") for part in parts) for quote in list_quotes("Outside Kubernetes"))
