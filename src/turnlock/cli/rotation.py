"""`turnlock rotation`: what a rotation would do, before it does."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from turnlock.cli import options, store_url
from turnlock.core.arn import AccountId, Region
from turnlock.shell import logs

if TYPE_CHECKING:
    from turnlock.rotation import Report

_TICK_SECONDS = 0.2
_MARKS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}


@click.group()
def rotation() -> None:
    """Rotations of secrets."""


@rotation.command()
@click.argument("secret")
@click.option(
    "--timeout", "seconds", default=120.0, show_default=True, help="Seconds to wait for the server."
)
@options.region
@options.account_id
@options.data_dir
@store_url.database
def rehearse(
    secret: str,
    seconds: float,
    region: Region,
    account_id: AccountId,
    data_dir: Path,
    database: str | None,
) -> None:
    """Find out what the next rotation of SECRET would meet, and change nothing.

    A running server carries it out, as the account's root user may ask for with RotateSecret's right; it logs in to the
    database and only reads. Ends with status 0 when the rotation would go through, with 1 when it would fail.
    """
    from turnlock import app  # noqa: PLC0415 (heavy)
    from turnlock.rotation import REHEARSE, latest  # noqa: PLC0415
    from turnlock.secrets import find_secret, parse_secret_id  # noqa: PLC0415

    logs.configure()
    with app.existing_store(data_dir, database, "rehearsal") as store:
        request = {"SecretId": secret}
        answer = app.act_as_root(
            store,
            "secretsmanager",
            REHEARSE,
            request,
            account_id=account_id,
            region=region,
            shapes_of="RotateSecret",
        )
        reference = parse_secret_id(answer["ARN"], account_id, region)
        deadline = time.monotonic() + seconds
        while True:
            found = store.read(
                lambda unit: None if (one := find_secret(unit, reference)) is None else latest(unit, one)
            )
            if found is not None:
                break
            if time.monotonic() > deadline:
                raise click.ClickException(
                    "No server carried the rehearsal out: is one running on this store?"
                )
            time.sleep(_TICK_SECONDS)
    _, report = found
    click.echo("\n".join(_lines(report)))
    sys.exit(1 if report.problems else 0)


def _lines(report: Report) -> Iterator[str]:
    for finding in report.findings:
        yield f"{_MARKS.get(finding.outcome, finding.outcome)}  {finding.check}: {finding.words}"
    yield report.would
