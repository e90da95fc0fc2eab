"""What the documentation asks a reader to type: its blocks, and the command lines in them.

Every block ```` ```sh ```` of a page is run by the tests, in order, in one shell, and so is a block ```` ```python ````
without a title. A title may say

- `In a shell of its own`: it is left running until the page ends;
- `Not run by our tests: REASON`: it is only read by the commands' own parsers.

A block ```` ```text title="It prints" ```` is compared with what the block before it printed (`…` stands for anything
in a line), and a block of another language whose title is a file's name is written to that file.

The tutorial and the how-tos begin with nothing. Other pages are looked things up in, by people who have recordings and
models: they begin with those of `readers_files.py`.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SHELL = ("sh", "console", "bash")
OWN_SHELL = "In a shell of its own"
NOT_RUN = "Not run by our tests: "
PRINTS = "It prints"

FENCED = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)(?: title=\"(?P<title>[^\"]*)\")?\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
INLINE = re.compile(r"`([^`\n]+)`")
SEPARATORS = ("|", "||", "&&", ";", "&")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its title ("" without), its text, and the line of the page that it begins at."""

    language: str
    title: str
    text: str
    line: int

    @property
    def is_shell(self) -> bool:
        return self.language in SHELL

    @property
    def is_run(self) -> bool:
        if self.language == "python":
            return not self.title
        return self.is_shell and not self.title.startswith(NOT_RUN)

    @property
    def is_file(self) -> bool:
        return not self.is_shell and re.fullmatch(r"[\w./-]+\.\w+", self.title) is not None


def pages() -> list[Path]:
    """Every page that a reader may take a command from."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def from_nothing() -> list[Path]:
    """The pages that take a reader by the hand from a fresh copy on."""
    return [DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]


def walks() -> list[Path]:
    """The pages that have something to run."""
    others = [page for page in pages() if page not in from_nothing()]
    return [page for page in (*from_nothing(), *others) if any(block.is_run for block in blocks(page.read_text()))]


def blocks(text: str) -> list[Block]:
    """A page's fenced blocks, in order."""
    return [
        Block(
            match["language"],
            match["title"] or "",
            re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE),
            text.count("\n", 0, match.start()) + 1,
        )
        for match in FENCED.finditer(text)
    ]


def indented(text: str) -> list[str]:
    """The lines that four spaces make a block of code; those of lists and of admonitions are none."""
    found, opener = [], ""
    for line in FENCED.sub("\n", text).splitlines():
        if not line.startswith(" "):
            opener = line or opener
        elif line.startswith("    ") and not re.match(r"!!!|[-*] |\d+\. ", opener):
            found.append(line)
    return found


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of each command in a page's blocks of a shell."""
    for block in blocks(text):
        if block.is_shell:
            yield from commands_in(block.text)


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of each command, those between pipes each by itself."""
    for line in text.replace("\\\n", " ").splitlines():
        yield from _commands(line.removeprefix("$ "))


def _commands(line: str) -> Iterator[list[str]]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # not shell: JSON, a table, a program's output
        return
    command: list[str] = []
    for word in [*words, ";"]:
        if word in SEPARATORS:
            while command and re.fullmatch(r"\w+=.*", command[0]):
                del command[0]
            if command:
                yield command
            command = []
        else:
            command.append(word)


def inline_commands(text: str) -> Iterator[list[str]]:
    """The words of what stands in running text between backticks."""
    for span in INLINE.findall(FENCED.sub("\n", text)):
        try:
            yield shlex.split(span)
        except ValueError:
            continue
