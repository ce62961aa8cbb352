"""What `--help` says: a sentence for each verb and each option, and docs/commands.md is what the program answers."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import click
import pytest

from turnlock.cli import cli

ROOT = Path(__file__).parents[2]
WRITER: dict[str, Any] = runpy.run_path(str(ROOT / "tools" / "commands.py"))
CONTEXTS: list[click.Context] = [*WRITER["verbs"](cli)]
OPTIONS = [
    pytest.param(parameter, id=f"{context.command_path} {parameter.opts[0]}")
    for context in CONTEXTS
    for parameter in context.command.params
    if isinstance(parameter, click.Option)
]
MOST_CHARACTERS = 130
"""Of a verb's first sentence: what it does is told in one line, the rest below it."""


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: context.command_path)
def test_a_verb_says_in_one_sentence_what_it_does(context: click.Context) -> None:
    first = re.split(r"(?<=\.)\s", (context.command.help or "").strip())[0]
    assert re.fullmatch(r"[A-Z][^\n]*\.", first)
    assert len(first) <= MOST_CHARACTERS


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_says_in_one_sentence_what_it_is_for(option: click.Option) -> None:
    """A capital, a full stop; what is not a sentence of its own follows in brackets, as click writes defaults."""
    text = re.sub(r" *\[default: [^\]]+\]$", "", option.help or "")
    assert re.fullmatch(r"[A-Z].*\.", text)


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: context.command_path)
def test_an_argument_is_named_in_its_verb_s_sentence(context: click.Context) -> None:
    arguments = [one for one in context.command.params if isinstance(one, click.Argument)]
    assert all(one.make_metavar(context) in (context.command.help or "") for one in arguments)


def test_the_page_of_commands_is_what_the_program_says() -> None:
    assert WRITER["PAGE"].read_text() == WRITER["page"](), "run tools/commands.py"
