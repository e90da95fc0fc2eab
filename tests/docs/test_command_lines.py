"""Whatever README and docs tell a reader to type is understood by the commands' own parsers."""

import argparse
import re

import pages
import pytest
from maker import programs

MAKEFILE = (pages.ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
HELPERS = "".join((pages.ROOT / path).read_text() for path in ("tests/fresh/walk.sh", "deploy/docker/build.sh"))


def complaint(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the program, or make, has against a command line; "" for nothing."""
    name = words[0].rpartition("/")[2]
    if name == "make":
        return made(words[1:])
    if name not in programs.programs():
        return ""
    try:
        programs.parse(name, words[1:])
    except SystemExit as stop:
        said = capsys.readouterr().err.splitlines()
        return said[-1] if stop.code else ""
    return ""


def made(words: list[str]) -> str:
    for word in words:
        variable, is_set, _ = word.partition("=")
        if is_set and not re.search(rf"\b{variable}\b", MAKEFILE + HELPERS):
            return f"make: no variable {variable}"
        if not is_set and word not in TARGETS and word != "...":
            return f"make: no target {word}"
    return ""


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: str(page.relative_to(pages.ROOT)))
def test_every_command_line_is_one(page, capsys):
    wrong = {
        " ".join(words): said for words in pages.command_lines(page.read_text()) if (said := complaint(words, capsys))
    }
    assert wrong == {}


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: str(page.relative_to(pages.ROOT)))
def test_every_command_and_option_in_running_text_exists(page):
    unknown = []
    for program, *words in filter(None, pages.inline_commands(page.read_text())):
        parser = programs.programs().get(program)
        if parser is None or not words:
            continue
        while words and words[0] in (below := programs.children(parser)):
            parser = below[words.pop(0)]
        known = programs.flags(parser)
        unknown += [
            f"{parser.prog} {word}" for word in words if word.startswith("--") and word.partition("=")[0] not in known
        ]
    assert unknown == []


def test_wrong_lines_are_found(capsys):
    fenced = "```sh\ndfeval figures \\\n  a.csv  # made up\n```\n"
    second = "```console\n$ dfclient score a.wav --modle aasist | tee log\nmake exprot\nmake test JOBZ=2\n```\n"
    lines = list(pages.command_lines(f"Text\n\n{fenced}\n{second}"))
    assert [words[0] for words in lines] == ["dfeval", "dfclient", "tee", "make", "make"]
    said = [complaint(words, capsys) for words in lines]
    assert "invalid choice: 'figures'" in said[0]
    assert "--modle" in said[1]
    assert said[2:] == ["", "make: no target exprot", "make: no variable JOBZ"]
    assert len(list(pages.command_lines((pages.ROOT / "README.md").read_text()))) >= 15


def each_command() -> list[argparse.ArgumentParser]:
    return [command for parser in programs.programs().values() for command in programs.commands(parser)]


@pytest.mark.parametrize("command", each_command(), ids=lambda command: command.prog)
def test_each_help_says_what_the_command_does_by_examples_that_work(command, capsys):
    assert command.description, "its --help begins with options"
    example = (command.epilog or "").partition("Example: ")[2]
    for words in pages.command_lines(f"```sh\n{example}\n```\n"):
        assert complaint(words, capsys) == ""
    for action in command._actions:
        assert action.help or isinstance(action, argparse._SubParsersAction), action.dest


def test_a_program_without_a_command_lists_its_commands(capsys):
    for name, parser in programs.programs().items():
        if below := programs.children(parser):
            arguments = parser.parse_args([])
            assert arguments.run(arguments) == 2
            assert set(below) <= set(capsys.readouterr().err.split()), name


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: str(page.relative_to(pages.ROOT)))
def test_each_command_is_run_or_says_why_not(page):
    """Commands stand in blocks of a shell, whose titles are spelt as the tests read them and give a reason."""
    found = pages.blocks(page.read_text())
    for block in found:
        if block.is_shell:
            is_reasoned = block.title.startswith(pages.NOT_RUN) and len(block.title) > len(pages.NOT_RUN) + 10
            assert block.is_run or is_reasoned, block
            assert block.title in ("", pages.OWN_SHELL) or is_reasoned, block
        else:
            known = {"make", *programs.programs()}
            assert not known & {words[0] for words in pages.commands_in(block.text)}, block
    assert pages.indented(page.read_text()) == [], "a block of four spaces has no title: fence it"


def test_the_tutorial_and_every_how_to_have_something_to_run():
    assert set(pages.from_nothing()) < set(pages.walks())
