"""`turnlock secrets`: what only an operator can do with a secret."""

from __future__ import annotations

from pathlib import Path

import click

from turnlock.cli import options, store_url
from turnlock.core.arn import AccountId, Region
from turnlock.shell import logs


@click.group()
def secrets() -> None:
    """Secrets that nobody can manage any more."""


@secrets.command("remove-policy")
@click.argument("secret")
@options.region
@options.account_id
@options.data_dir
@store_url.database
@options.root_key
def remove_policy(
    secret: str, region: Region, account_id: AccountId, data_dir: Path, database: str | None, root_key: str
) -> None:
    """Take away the resource policy of SECRET (a name or an ARN), also one that denies it to everyone, the root user too.

    Servers may run meanwhile. The trail tells of it as of the root user's DeleteResourcePolicy, by this command.
    """
    from turnlock import app  # noqa: PLC0415 (heavy)
    from turnlock import secrets as room  # noqa: PLC0415

    logs.configure()
    choice = options.root_key_choice(root_key, data_dir)
    with app.existing_store(data_dir, database, "secrets", choice) as store:
        answer = app.act_as_root(
            store,
            "secretsmanager",
            room.REMOVE_POLICY,
            {"SecretId": secret},
            account_id=account_id,
            region=region,
        )
    click.echo(f"{answer['ARN']} has no resource policy.")
