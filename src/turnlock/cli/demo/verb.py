"""The command: its options, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".demo"),
    show_default=True,
    help="Where everything lives; what an earlier demo left there is wiped, anything else is refused.",
)
@click.option(
    "--every",
    type=click.FloatRange(1, 3600),
    default=10.0,
    show_default=True,
    help="Seconds from one rotation to the next.",
)
@click.option("--seconds", type=click.FloatRange(1), help="End after this long.")
@click.option("--rotations", type=click.IntRange(1), help="End after this many rotations.")
def demo(data_dir: Path, every: float, seconds: float | None, rotations: int | None) -> None:
    """Rotate the password of an application that works all the time, on a server and a PostgreSQL of its own.

    Ends with status 1 when a rotation or an operation of the application failed.
    """
    from turnlock.cli.demo.show import run  # noqa: PLC0415 (heavy; other verbs start without it)

    sys.exit(0 if run(data_dir, every=every, seconds=seconds, rotations=rotations) else 1)
