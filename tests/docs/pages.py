"""What the documentation asks a reader to type: its blocks, and the command lines in them.

A block ```` ```sh ```` of the tutorial or a how-to is run by the tests, in order, in one shell. Its title may say

- `In a shell of its own`: it is left running until the page ends;
- `Not run by our tests: REASON`: it is only read by the commands' own parsers.

A block ```` ```text title="It prints" ```` is compared with what the block before it printed (`…` stands for anything
in a line), and a block of another language whose title is a file's name is written to that file.
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
        return self.is_shell and not self.title.startswith(NOT_RUN)

    @property
    def is_file(self) -> bool:
        return not self.is_shell and re.fullmatch(r"[\w./-]+\.\w+", self.title) is not None


def pages() -> list[Path]:
    """Every page that a reader may take a command from."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def walks() -> list[Path]:
    """The pages whose commands are run."""
    return [DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]


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


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of each command in a page's blocks, those between pipes each by itself."""
    fenced = [block.text for block in blocks(text) if block.is_shell]
    rest = FENCED.sub("\n", text).splitlines()
    indented = "\n".join(line.removeprefix("    ") for line in rest if line.startswith("    "))
    for block in (*fenced, indented):
        for line in block.replace("\\\n", " ").splitlines():
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
