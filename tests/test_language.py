"""What users and developers read is plain English, without the phrases that this project avoids."""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("*.md", "docs/**/*.md", "k8s/**/*.md", "alerts/**/*.md", "dashboards/*.md", ".github/**/*.md")
DATA = ("k8s/**/*.yml", "k8s/**/*.yaml", "alerts/*.yml", "dashboards/*.json", "exporter/**/*.html")
FORGE = (".github/**/*.yml", "action.yml", ".pre-commit-hooks.yaml", "Makefile")
CODE = (
    "exporter/**/*.py",
    "docs/*.py",
    ".github/*.py",
    "k8s/**/*.py",
    "dashboards/*/*.py",
    "tests/example/*.py",
    "tests/plugin/**/*.py",
)


NOUNS = "number|url|verdict|answer|response|address|request|error|name|word|value|file|character|list"
# A phrase (a regular expression of whole words, in any case) and what a native engineer would write.
PHRASES = {
    r"anew": "again",
    r"for good": "permanently",
    r"for want of": "without",
    r"so far as": "if, as far as it is known",
    r"and so(?! (?:on|forth)\b)": "therefore, too, or a new sentence",
    r"told of|tells? of|is told by": "reported, logged, shown",
    r"(?-i:(?<!there\s)(?:is none|are none))": "is invalid, is missing, has none",
    rf"(?<!there\s)is no (?:\w+ )?(?:{NOUNS})": "is not a ...",
    r"has no say|a say in": "affects",
    r"of one's own|of its own accord": "hand-written, by itself",
    r"is nobody's|is somebody's|is the \w+'s to \w+": "name who does it",
    r"belongs? into": "belongs in",
    r"mends?|mended|mending": "fix",
    r"buries|bury|buried": "reap",
    r"process 1": "PID 1",
    r"goes on for|go on for|serves on": "keeps serving, keeps running",
    r"stands? still": "is stalled, is paused",
    r"(?:is|are|not|be) well(?! (?:under|below|above|within|beyond|known|over|before|after))": "is healthy",
    r"what (?:it|each|they) saw": "the results, the measurements",
    r"what (?:waits|follows|came|comes) (?:is|was|are|were|has|must|may)": "name the noun",
    r"nobody knows how": "the state is unknown",
    r"the least that": "at least",
    r"how loudly": "how urgently",
    r"whatever they are worth": "even if invalid",
    r"in the same words as": "with the same text as",
    r"tells? how old": "shows when it last ran",
    r"could not be found out|cannot be found out": "could not be determined",
    r"put to work|takes? for success": "is applied, treats as success",
    r"but that no": "except that no",
    r"paste what stands": "copy",
    r"by the rules of": "according to the rules of, as it does",
    r"of (?:ours|yours)|(?:ours|yours) to": "our own, your own",
    r"(?:one|pattern) a line": "one per line",
    r"faults? (?:of|in) (?:a|the|your) (?:given )?(?:configuration|file)": "error",
    r"(?:changes?|moves?) no threshold|no threshold (?:changes|moves)": "does not count toward a threshold",
    r"as long as (?:it|they|the \w+) like[sd]?": "indefinitely",
    r"learned to avoid|taught us": "what is, without its history",
    r"no second one": "not another",
}
GAP = r"[\s#>]+"  # between two words: also a line's end, with the sign of a comment or of a quotation
AVOIDED = re.compile(
    "|".join(rf"(?P<p{number}>\b(?:{phrase.replace(' ', GAP)})\b)" for number, phrase in enumerate(PHRASES)),
    re.IGNORECASE,
)


def find_phrases(text: str) -> Iterator[tuple[int, str, str]]:
    """Find avoided phrases, also across a line's end: (line, phrase, what to write instead)."""
    for match in AVOIDED.finditer(text):
        instead = list(PHRASES.values())[int(str(match.lastgroup)[1:])]
        yield text.count("\n", 0, match.start()) + 1, " ".join(re.split(GAP, match[0])), instead


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Give what is written for people in a file, with the line where it begins: all of it, or comments and strings."""
    content = path.read_text()
    if path.suffix != ".py":
        yield 1, content
        return
    comments: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            begin = next(
                (line for line, text in comments.items() if line + text.count("\n") + 1 == token.start[0]), None
            )
            if begin is None:
                comments[token.start[0]] = token.string
            else:
                comments[begin] += f"\n{token.string}"
    yield from comments.items()
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def list_files() -> list[Path]:
    return sorted(
        path
        for pattern in (*PAGES, *DATA, *FORGE, *CODE)
        for path in ROOT.glob(pattern)
        if not {"node_modules", ".venv"} & set(path.relative_to(ROOT).parts)
    )


def find_violations() -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{start + line - 1}: {phrase} -> {instead}"
        for path in list_files()
        for start, text in texts(path)
        for line, phrase, instead in find_phrases(text)
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It begins anew.", [(1, "anew")]),
        ("one\nA fault is told\nof in the log", [(2, "told of")]),
        ("# which\n# is\n#   none", [(2, "is none")]),
        ("This does not Mend it", [(1, "Mend")]),
        ("It was late, and so\n# it stopped.", [(1, "and so")]),
        ("for goodness, amended, recommended, renew, told often, and so on", []),
    ],
)
def test_phrases_are_found_as_whole_words_and_across_lines(text, found):
    assert [(line, phrase) for line, phrase, _ in find_phrases(text)] == found


def test_every_phrase_compiles_and_has_an_alternative():
    assert all(re.compile(phrase) and instead for phrase, instead in PHRASES.items())


def test_there_is_something_to_read():
    assert Counter(path.suffix for path in list_files()).keys() >= {".md", ".py", ".yml", ".json", ".html"}


def test_no_text_uses_an_avoided_phrase():
    assert find_violations() == []


def test_a_loop_variable_names_its_thing():
    """`each` says nothing: `check`, `path` and `record` do."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "exporter").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "each"
    ]

    assert found == []
