"""The pages of the documentation, their fenced blocks, and the commands in them."""

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FOLDERS = (".", "docs", "docs/*", "k8s", "alerts", "alerts/runbooks", "dashboards", ".github")
PAGES = sorted(path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.md"))


class Block(NamedTuple):
    """A fenced block, without the indentation that it has in a list."""

    page: str
    line: int
    language: str
    text: str

    @property
    def id(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def title(self) -> str:
        """The file that the block is, from a comment in its first line."""
        first = self.text.partition("\n")[0]
        return first.removeprefix("# ") if first.startswith("# ") else ""


class Command(NamedTuple):
    """A command with its options, as typed, and the block that it is in."""

    block: Block
    text: str

    @property
    def id(self) -> str:
        return f"{self.block.page}: {self.text[:60]}"


def find_blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, match.start()) + 1, match[2], dedent(match[3]))
        for match in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    ]


def list_blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in find_blocks(page) if block.language in languages]


def find_commands(block: Block) -> Iterator[Command]:
    """The commands of a shell block, without the output in a `console` block and the text of a here document."""
    text = re.sub(r"\\\n\s*", "", block.text)
    text = re.sub(r"<<'(\w+)'\n.*?^\1$", "< FILE", text, flags=re.DOTALL | re.MULTILINE)
    if block.language == "console":
        text = "\n".join(re.findall(r"^\$ (.*)", text, re.MULTILINE))
    for line in text.splitlines():
        if command := re.sub(r"\s+# .*$|^#.*$", "", line).strip():
            yield Command(block, command)


def list_commands() -> list[Command]:
    return [command for block in list_blocks("sh", "console") for command in find_commands(block)]
