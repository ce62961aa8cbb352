"""`turnlock functions try DIR`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from turnlock.cli.functions.package import package
from turnlock.cli.functions.place import TrialServer
from turnlock.cli.functions.trial import WAYS
from turnlock.rotation.plan.states import Step

STEPS: Final = tuple(step.value for step in Step if step is not Step.PROBE)
MOST_SECONDS: Final = 180.0
MOST_ATTEMPTS: Final = 12
"""Steps that may fail before a trial is given up."""
SAME_ERRORS: Final = 3
"""How often in a row a step may fail with the same words; a server that is away for a moment may be back by then."""


@click.group()
def functions() -> None:
    """Rotation functions of one's own."""


def _read_faults(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> list[list[str]]:
    faults = [text.split("=", 1) for text in given]
    if any(len(one) != 2 or one[0] not in STEPS or one[1] not in WAYS for one in faults):
        raise click.BadParameter(f"must be STEP=HOW, STEP of {', '.join(STEPS)} and HOW of {', '.join(WAYS)}")
    return faults


def _read_variables(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    pairs = [text.split("=", 1) for text in given]
    if any(len(pair) != 2 for pair in pairs):
        raise click.BadParameter("must be NAME=VALUE")
    return dict(pairs)


@functions.command("try")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--secret", required=True, metavar="NAME", help="The secret's name in the trial.")
@click.option("--value", default="{}", metavar="TEXT", help="Its first value.  [default: {}]")
@click.option(
    "--handler",
    default="main.handler",
    show_default=True,
    metavar="MODULE.NAME",
    help="The function's handler.",
)
@click.option(
    "--runtime",
    default=f"python3.{sys.version_info.minor}",
    metavar="NAME",
    help="Its runtime, as Lambda names it.  [default: this Python's]",
)
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_read_variables,
    help="A variable of its environment; may be repeated.",
)
@click.option(
    "--timeout", default=30, show_default=True, type=click.IntRange(1, 900), help="Seconds of a step."
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="STEP=HOW",
    callback=_read_faults,
    help="Let a step fail once: error (not begun), lost (done, its answer lost) or killed (soon after it began).",
)
def try_function(
    directory: Path,
    secret: str,
    value: str,
    handler: str,
    runtime: str,
    variables: dict[str, str],
    timeout: int,
    faults: list[list[str]],
) -> None:
    """Rotate a value once by the function in DIRECTORY, on a private server that is wiped afterwards.

    Each event, its outcome and its time are shown, and what the function wrote; never a value.
    """
    code = package(directory)
    with _server(faults) as server:
        function = server.create_function(
            code, Runtime=runtime, Handler=handler, Timeout=timeout, Environment={"Variables": variables}
        )
        arn = server.create_secret(secret, value)
        token = server.rotate(arn, function)
        click.echo(f"{secret} is rotated by {directory} ({handler}, {runtime}); the new version is {token}\n")
        ended = _follow(server, arn, token)
    if not ended:
        raise SystemExit(1)


@contextmanager
def _server(faults: list[list[str]]) -> Iterator[TrialServer]:
    with tempfile.TemporaryDirectory(prefix="turnlock-trial-") as place:
        server = TrialServer(Path(place), faults)
        try:
            server.start()
            yield server
        finally:
            server.end()


def _follow(server: TrialServer, arn: str, token: str) -> bool:
    """Show each step as it ends; return whether the rotation succeeded."""
    until, failed, hopeless = time.monotonic() + MOST_SECONDS, 0, False
    errors: list[tuple[str, str]] = []
    while True:
        for line in server.new_steps():
            _show(line)
            failed += line["error"] is not None
            hopeless |= line["lasting"]
            errors = _same_again(errors, line)
        stages = server.stages(arn)
        if server.rotated(arn) and "AWSCURRENT" in stages.get(token, []):
            for line in server.new_steps():
                _show(line)
            click.echo(f"\nrotated: AWSCURRENT is {token}, and {failed} failed steps on the way")
            return True
        if hopeless or len(errors) >= SAME_ERRORS or time.monotonic() > until or failed > MOST_ATTEMPTS:
            if hopeless or len(errors) >= SAME_ERRORS:
                click.echo("\nNo further attempt is made: it would fail in the same way.")
            labels = {version: names for version, names in stages.items() if names}
            click.echo(f"\nnot rotated: {failed} steps failed; the labels are {json.dumps(labels)}")
            return False
        time.sleep(0.1)


def _same_again(before: list[tuple[str, str]], line: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the failures of one step with the same words, up to this one; what ends well between them does not count."""
    if line["error"] is None or line["injected"] is not None:
        return before
    this = (line["event"]["Step"], line["error"])
    return [*before, this] if this in before else [this]


def _show(line: dict[str, Any]) -> None:
    event = line["event"]
    start = " (cold start)" if line["cold"] else ""
    outcome = "ok" if line["error"] is None else f"FAILED: {line['error']}"
    click.echo(f"{event['Step']:<13} {line['seconds'] * 1000:7.0f} ms{start}  {outcome}")
    click.echo(f"    event {json.dumps({**event, 'RotationToken': '…'}, ensure_ascii=False)}")
    for written in line["log"].splitlines():
        click.echo(f"    | {written}")
