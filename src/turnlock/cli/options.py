"""Options that several verbs take, and how they become a Config."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from turnlock.config import DEFAULT_ACCOUNT, DEFAULT_LISTEN, RootKeyChoice
from turnlock.core.arn import AccountId, Region
from turnlock.core.arn import account_id as as_account_id

data_dir = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Where the store, the root key and the credentials file live; made at the first start.",
)
listen = click.option(
    "--listen",
    default=DEFAULT_LISTEN,
    show_default=True,
    metavar="HOST:PORT",
    help="The address to listen at; any but loopback needs TLS.",
)


def _read_region(_context: click.Context, _parameter: click.Parameter, value: str) -> Region:
    return Region(value)


region = click.option(
    "--region",
    metavar="R",
    envvar=("AWS_REGION", "AWS_DEFAULT_REGION"),
    required=True,
    callback=_read_region,
    help="The Region; also from AWS_REGION or AWS_DEFAULT_REGION.",
)

root_key = click.option(
    "--root-key",
    metavar="WHERE",
    default="file",
    envvar="TURNLOCK_ROOT_KEY",
    show_envvar=True,
    help="Where the root key comes from: file:PATH, env:NAME, passphrase, command:COMMAND or pkcs11:URI."
    "  [default: file:DIR/root.key]",
)


def root_key_choice(spec: str, data_dir: Path, of: str = "The passphrase") -> RootKeyChoice:
    """Return the choice, and ask for the passphrase where it needs one: on the terminal, else one line of standard input."""
    kind, _, argument = spec.partition(":")
    if kind != "passphrase":
        return RootKeyChoice(spec=spec)
    if not sys.stdin.isatty():
        return RootKeyChoice(spec=spec, passphrase=sys.stdin.readline().rstrip("\n"))
    is_new = not (Path(argument) if argument else data_dir / "root.passphrase").exists()
    typed = click.prompt(of, hide_input=True, confirmation_prompt=is_new, err=True)
    return RootKeyChoice(spec=spec, passphrase=typed)


def read_account_id(_context: click.Context, _parameter: click.Parameter, value: str | None) -> AccountId:
    """Check an --account-id."""
    try:
        return as_account_id(value) if value is not None else DEFAULT_ACCOUNT
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


account_id = click.option(
    "--account-id",
    metavar="N",
    callback=read_account_id,
    help=f"The account.  [default: {DEFAULT_ACCOUNT}]",
)
