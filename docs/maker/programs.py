"""The commands of dfserve with their parsers: for the reference, and for the tests of what the documentation types."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import dfclient.cli.main
import dfdeploy.cli
import dfeval.cli
import dfexport.cli
import dfpage.cli
from dfeval.arguments import parse as parse_dfeval

WIDTH = 100


@cache
def programs() -> Mapping[str, argparse.ArgumentParser]:
    """Name → parser, in the order in which a recording meets them."""
    modules = (dfexport.cli, dfdeploy.cli, dfclient.cli.main, dfeval.cli, dfpage.cli)
    parsers = [module.build_parser() for module in modules]
    return {parser.prog: parser for parser in parsers}


def parse(program: str, argv: Sequence[str]) -> None:
    """Read a command line as the program itself would.

    Raises:
        SystemExit: it is wrong; the parser has said why on stderr.
    """
    parser = programs()[program]
    if program == "dfeval":
        parse_dfeval(parser, argv)
    else:
        parser.parse_args(argv)


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser, then those of its commands, and of theirs."""
    yield parser
    for child in children(parser).values():
        yield from commands(child)


def children(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """Name → parser of each command below; empty where there are none."""
    for action in parser._actions:  # argparse has no public way to its commands
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def flags(parser: argparse.ArgumentParser) -> set[str]:
    """Its options, as they are typed."""
    return {flag for action in parser._actions for flag in action.option_strings}


def reference() -> str:
    """The page of command lines: what `--help` says of each command."""
    page = [
        "# Command lines\n",
        "What `--help` says, command by command. Exit codes: 0 all went well, 1 something failed, 2 wrong usage, 130 "
        "Ctrl-C.\n",
        'Completion by Tab, in bash and zsh: `eval "$(register-python-argcomplete '
        f"{' '.join(programs())})\"` in your shell's start-up file, with the environment active.\n",
    ]
    for name, parser in programs().items():
        page.append(f"## {name}\n")
        page += [_help(command, heading=command is not parser) for command in commands(parser)]
    return "\n".join(page)


def _help(parser: argparse.ArgumentParser, *, heading: bool) -> str:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=WIDTH, max_help_position=30)
    title = f"### {parser.prog}\n\n" if heading else ""
    return f"{title}```text\n{parser.format_help()}```\n"
