"""`turnlock keys`: the root key."""

from __future__ import annotations

from pathlib import Path

import click

from turnlock.cli import options, store_url
from turnlock.shell import logs


@click.group()
def keys() -> None:
    """The root key, under which everything lies."""


@keys.command("rotate-root")
@options.data_dir
@store_url.database
@options.root_key
@click.option(
    "--to",
    metavar="WHERE",
    help="Where the new root key comes from, written as for --root-key.  [default: the same place]",
)
def rotate_root(data_dir: Path, database: str | None, root_key: str, to: str | None) -> None:
    """Put the whole store under a new root key. Stop every server of the store first.

    It can be run again after it was interrupted. At the end everything is read and checked under the new root key.
    """
    from turnlock import root_key_rotation as root_keys  # noqa: PLC0415 (heavy)
    from turnlock.kms import Progress  # noqa: PLC0415

    logs.configure()
    current = options.root_key_choice(root_key, data_dir, of="The passphrase of now")
    wanted = None if to is None else options.root_key_choice(to, data_dir, of="The new passphrase")

    def report(progress: Progress) -> None:
        click.echo(f"{progress.table}: {progress.done} of {progress.total}")

    proof = root_keys.rotate(data_dir, database, current, wanted, report)
    click.echo(
        f"Proof: {proof.materials} key materials and {proof.macs} authenticated rows were read and fit the new root key;"
        " none is under the old one."
    )
    if wanted is not None:
        click.echo("From now on, start the server with --root-key as it was given to --to.")
