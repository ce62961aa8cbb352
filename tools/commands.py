"""Write docs/commands.md: what every verb of `turnlock` says to --help. Run it after a change of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from turnlock.cli import cli

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
WIDTH = 110
HEAD = """\
# The command line

What each verb answers to `--help`. Written by `tools/commands.py`; a test holds it to the program.
"""


def verbs(command: click.Command, context: click.Context | None = None) -> Iterator[click.Context]:
    """Yield a command's context and those of the commands below it, in the order in which they are listed."""
    own = click.Context(
        command,
        parent=context,
        info_name="turnlock" if context is None else command.name,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        **command.context_settings,
    )
    yield own
    if isinstance(command, click.Group):
        for name in command.list_commands(own):
            found = command.get_command(own, name)
            assert found is not None
            yield from verbs(found, own)


def page() -> str:
    """Return the page."""
    parts = [f"## {one.command_path}\n\n```\n{one.command.get_help(one)}\n```\n" for one in verbs(cli)]
    return "\n".join([HEAD, *parts])


if __name__ == "__main__":
    PAGE.write_text(page())
