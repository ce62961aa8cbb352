"""The `turnlock` command: one module per verb, thin; whatever it does, a room does.

What it trusts: the operator. What it must never do: print a secret that was not asked for, or hide an error behind a
traceback: what an operator can mend is said in one sentence.
"""

from __future__ import annotations

import sys

import click

from turnlock.cli import demo
from turnlock.cli.accounts import accounts
from turnlock.cli.databases import databases
from turnlock.cli.explain import explain
from turnlock.cli.functions import functions
from turnlock.cli.keys import keys
from turnlock.cli.rotation import rotation
from turnlock.cli.secrets import secrets
from turnlock.cli.serve import serve
from turnlock.errors import ConfigurationError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="turnlock")
def cli() -> None:
    """Turnlock: AWS Secrets Manager on your own machines."""


cli.add_command(serve)
cli.add_command(accounts)
cli.add_command(databases)
cli.add_command(keys)
cli.add_command(explain)
cli.add_command(functions)
cli.add_command(rotation)
cli.add_command(secrets)
cli.add_command(demo.demo)


def main() -> None:
    """Run the command; a ConfigurationError ends it with its sentence and status 2."""
    try:
        cli()
    except ConfigurationError as error:
        click.echo(f"turnlock: {error.message}", err=True)
        sys.exit(2)


__all__ = ["cli", "main"]
