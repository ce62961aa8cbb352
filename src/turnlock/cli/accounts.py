"""`turnlock accounts`: further accounts."""

from __future__ import annotations

from pathlib import Path

import click

from turnlock.cli import options, store_url
from turnlock.core.arn import AccountId
from turnlock.shell import logs


@click.group()
def accounts() -> None:
    """Accounts of this deployment."""


@accounts.command()
@click.option("--account-id", metavar="N", callback=options.read_account_id, help="Twelve digits.")
@options.data_dir
@store_url.database
@options.root_key
def create(account_id: AccountId, data_dir: Path, database: str | None, root_key: str) -> None:
    """Create an account and print its root credentials as an AWS shared-credentials file."""
    from turnlock import app  # noqa: PLC0415 (heavy)

    logs.configure()  # without it a failure would be shown with the values of local variables, secrets among them
    click.echo(
        app.create_account(data_dir, database, account_id, options.root_key_choice(root_key, data_dir)),
        nl=False,
    )
