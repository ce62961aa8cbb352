"""`python -m bench`: run the rounds, print the figures, end with status 1 when they miss the mark."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bench import children, figures, load
from bench.figures import Round, Setting
from bench.load import Measurement, Run
from bench.signing import Target, read_requests, write_requests

PAGE = Path("docs/benchmarks.md")
SCRATCH = Path(".cache")
"""Below the project, not in a temporary directory: that may lie in memory, where making records durable costs nothing."""


class Bench:
    """Both servers running, and the rounds against them."""

    def __init__(self, *, target: Target, bare: str, scratch: Path, setting: Setting) -> None:
        self._target = target
        self._bare = bare
        self._requests = scratch / "requests"
        self._setting = setting
        self._rate = 4000.0
        """What Turnlock is expected to answer in a second: how many requests a round needs."""

    def warm_up(self) -> None:
        """Load both, and learn the rate; until the day's first reads are written back, which forgets what is remembered."""
        self.round(5, first_bare=True)

    def round(self, seconds: int, *, first_bare: bool) -> Round:
        """Sign fresh requests, then measure one server after the other with them."""
        prepared = write_requests(self._target, int(self._rate * seconds * 1.5), self._requests)
        measured: dict[str, Measurement] = {}
        order = (self._bare, self._target.host) if first_bare else (self._target.host, self._bare)
        for host in order:
            connections = self._setting.connections
            run = Run(host=host, connections=connections, seconds=seconds, requests=self._requests)
            measured[host] = load.measure(self._setting.generator, run)
        ours = measured[self._target.host]
        self._rate = max(self._rate, ours.rate)
        return Round(bare=measured[self._bare], turnlock=ours, repeated=ours.requests > prepared)


@click.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 50))
@click.option(
    "--seconds",
    default=4,
    show_default=True,
    type=click.IntRange(1, 20),
    help="For each server in each round.",
)
@click.option("--connections", default=32, show_default=True, type=click.IntRange(1, 256))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 16), help="Of each server.")
@click.option("--secrets", default=1000, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--generator", type=click.Choice(list(load.GENERATORS)), help="[default: wrk where it is]")
@click.option("--write", is_flag=True, help=f"Write the figures to {PAGE}.")
def main(write: bool, rounds: int, **options: Any) -> None:
    """Measure GetSecretValue beside the bare server it stands on."""
    setting = _setting(**options)
    SCRATCH.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=SCRATCH))
    try:
        measured = _measure(scratch, rounds, setting)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    click.echo(f"\n{figures.table(measured)}\n")
    if write:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(figures.replace_figures(page, measured, setting), encoding="utf-8")
        click.echo(f"written to {PAGE}")
    sys.exit(_verdict(measured, setting.generator))


def _setting(connections: int, seconds: int, secrets: int, workers: int, generator: str | None) -> Setting:
    return Setting(
        command=f"python -m bench {' '.join(sys.argv[1:])}".strip(),
        commit=_commit(),
        generator=generator or load.preferred(),
        connections=connections,
        seconds=seconds,
        secrets=secrets,
        workers=workers,
        machine=f"{os.cpu_count()} cores, Python {platform.python_version()}",
        date=f"{datetime.now(UTC):%Y-%m-%d}",
    )


def _measure(scratch: Path, rounds: int, setting: Setting) -> list[Round]:
    data_dir = scratch / "data"
    with children.turnlock(data_dir, setting.workers) as host:
        click.echo(f"storing {setting.secrets} secrets")
        target = children.store_secrets(host, data_dir, setting.secrets)
        write_requests(target, 1, scratch / "first")
        size = children.answer_size(host, read_requests(scratch / "first")[0])
        with children.bare(size, scratch, setting.workers) as bare:
            bench = Bench(target=target, bare=bare, scratch=scratch, setting=setting)
            bench.warm_up()
            measured = []
            for number in range(rounds):
                measured.append(bench.round(setting.seconds, first_bare=number % 2 == 0))
                _tell(number + 1, measured[-1])
            return measured


def _tell(number: int, one: Round) -> None:
    click.echo(
        f"round {number}: bare {one.bare.rate:,.0f}/s, Turnlock {one.turnlock.rate:,.0f}/s"
        f" (p50 {one.turnlock.p50_ms:.2f} ms, p99 {one.turnlock.p99_ms:.2f} ms), {one.ratio:.1%}"
    )


def _verdict(measured: list[Round], generator: str) -> int:
    reached, failed = figures.ratio(measured), figures.failures(measured)
    click.echo(
        f"{generator}: Turnlock answers {reached:.1%} of what the bare server does; the mark is {figures.MARK:.0%}:"
        f" {'reached' if reached >= figures.MARK else 'MISSED'}. Failed requests: {failed}."
    )
    return 0 if reached >= figures.MARK and not failed else 1


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
