"""Commands that the pages show: each verb, target, operation and option is there. docs/rds.md is run by tests/clients as well."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import botocore.session
import click
import pytest
from botocore import xform_name

from turnlock.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md")),
    *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("examples/**/*.md")),
]
PROGRAMS = ("turnlock", "make", "aws", "python", "pytest")
OTHERS = {"export"}
"""What a block of the README may say besides."""
OF_EVERY_AWS_COMMAND = {"query", "output", "region", "endpoint-url", "profile"}
CLIENT_SIDE = {("logs", "tail"), ("rds", "wait")}
"""What the aws command does by itself: no operation of the service."""


def commands_of(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of a shell block: a line, unless it goes on by a backslash or an open quote."""
    whole = ""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        whole = f"{whole}\n{line}" if whole else re.sub(r"\s# .*", "", line)
        try:
            words = shlex.split(whole.removeprefix("$ "))
        except ValueError:
            continue  # a quote is open
        whole = ""
        if words:
            yield words


def blocks(page: str) -> Iterator[list[str]]:
    for text in re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL):
        yield from commands_of(text)


def mentions(page: str) -> Iterator[list[str]]:
    """Yield the commands that stand in a sentence; `[--option …]` is an option that may be left out."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"`([^`]+)`", text):
        words = re.sub(r"[\[\]]", "", code).split()
        if len(words) > 1 and program(words) in PROGRAMS:
            yield words


def program(words: list[str]) -> str:
    return words[0].rpartition("/")[2]


@cache
def targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def check_turnlock(words: list[str], *, whole: bool) -> None:
    command: click.Command = cli
    context = click.Context(cli, info_name="turnlock", **cli.context_settings)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=found.name)
    given, left, _ = command.make_parser(context).parse_args(words)
    assert left == []
    if whole:
        needed = {one.name for one in command.params if one.required and not one.envvar}
        assert needed <= set(given)


def check_aws(words: list[str], *, whole: bool) -> None:
    service, operations = words[0], words[1:2]
    model = botocore.session.get_session().get_service_model(service)
    if not operations or (service, operations[0]) in CLIENT_SIDE:
        return
    named = {xform_name(name, "-"): name for name in model.operation_names}
    shape = model.operation_model(named[operations[0]]).input_shape
    assert shape is not None
    members = {xform_name(name, "-"): member for name, member in shape.members.items()}
    switches = {f"no-{name}" for name, member in members.items() if member.type_name == "boolean"}
    given = {word[2:] for word in words[2:] if word.startswith("--")}
    assert given <= {*members, *switches, *OF_EVERY_AWS_COMMAND}
    if whole:
        assert {xform_name(name, "-") for name in shape.required_members} <= given


def check(words: list[str], *, whole: bool) -> None:
    """Check a command; one that is `whole` has everything that its program asks for."""
    match program(words), words[1:]:
        case "turnlock", rest:
            check_turnlock([word for word in rest if word != "…"], whole=whole)
        case "aws", rest:
            check_aws(rest, whole=whole)
        case "make", rest:
            assert set(rest) <= targets()
        case "python", ["-m", module, *_]:
            places = (ROOT / f"{module.replace('.', '/')}.py", ROOT / module / "__main__.py")
            assert any(place.exists() for place in places)
        case (("python" | "pytest"), rest):
            files = [word for word in rest if "/" in word]
            assert files
            assert all((ROOT / file).exists() for file in files)
        case other, _:
            assert other in OTHERS


@pytest.mark.parametrize("words", [*blocks("README.md")], ids=lambda words: " ".join(words)[:60])
def test_each_command_of_the_readme_is_as_its_program_takes_it(words: list[str]) -> None:
    check(words, whole=True)


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_pages_mention_are_there(page: str) -> None:
    shown = [words for words in blocks(page) if program(words) in PROGRAMS]
    for words in [*shown, *mentions(page)]:
        check(words, whole=False)


def test_a_command_that_is_not_there_is_noticed() -> None:
    for wrong in (
        "turnlock serve --data-dir d --colour red",
        "turnlock rotation rehears x",
        "aws secretsmanager create-secret --nam x",
        "aws secretsmanager make-secret",
        "make everything",
        "python tools/no_such.py",
    ):
        with pytest.raises((AssertionError, click.UsageError, KeyError)):
            check(wrong.split(), whole=False)
