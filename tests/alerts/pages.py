"""The runbooks, and the commands and queries in them."""

import re

from alerts.rules import ALERTS

README = (ALERTS / "README.md").read_text()
PAGES = {path.stem: path.read_text() for path in sorted(ALERTS.glob("runbooks/*.md"))}
_PROGRAMS = re.compile(r"(?:amtool|du|find|health-exporter|kubectl|openssl) ")


def find_blocks(text: str, language: str) -> list[str]:
    """Find the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def find_queries(text: str) -> list[str]:
    """Find the queries of a page."""
    return find_blocks(text, "promql")


def find_commands(text: str) -> list[str]:
    """Find the commands of a page: the lines of its shell blocks, and its inline code that begins with a program."""
    lines = "".join(find_blocks(text, "sh")).splitlines()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    inline = (" ".join(code.split()).replace(r"\|", "|") for code in re.findall(r"`([^`]+)`", prose))
    return lines + [code for code in inline if _PROGRAMS.match(code) and code != "health-exporter serve"]


def find_values(code: str) -> set[str]:
    """Find the words in capitals, which stand for values."""
    return set(re.findall(r"\b[A-Z]{3,}\b", code))


def list_values() -> set[str]:
    """List the values that the README explains."""
    [section] = re.findall(r"^## Using the runbooks\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    return find_values(" ".join(re.findall(r"^\| ([A-Z, ]+) \|", section, re.MULTILINE)))


def fill(code: str, **values: object) -> str:
    """Replace the words in capitals with values."""
    return re.sub(r"\b[A-Z]{3,}\b", lambda word: str(values.get(word[0], word[0])), code)
