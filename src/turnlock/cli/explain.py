"""`turnlock explain`: may somebody do this with a secret, why, and who else can."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from turnlock.cli import options, store_url
from turnlock.core.arn import Region
from turnlock.shell import logs

if TYPE_CHECKING:
    from turnlock.policies import Explanation
    from turnlock.shell.explainer import Answer


@click.command()
@click.option("--principal", metavar="ARN", help="A user, a role, a role's session, or a root user.")
@click.option(
    "--action",
    required=True,
    metavar="ACTION",
    help="The action that is asked about, such as secretsmanager:GetSecretValue.",
)
@click.option("--secret", required=True, metavar="NAME", help="The secret's name or ARN.")
@click.option("--who", "everyone", is_flag=True, help="List every principal that can do it.")
@click.option(
    "--region",
    metavar="R",
    default="us-east-1",
    show_default=True,
    envvar=["AWS_REGION", "AWS_DEFAULT_REGION"],
    help="The secret's Region; also from AWS_REGION or AWS_DEFAULT_REGION.",
)
@click.option(
    "--context",
    "context",
    multiple=True,
    metavar="KEY=VALUE",
    help="A condition key of the call, such as aws:SourceIp=10.0.0.7; may be repeated.",
)
@options.data_dir
@store_url.database
def explain(
    principal: str | None,
    action: str,
    secret: str,
    everyone: bool,
    region: str,
    context: Sequence[str],
    data_dir: Path,
    database: str | None,
) -> None:
    """Say whether a principal may do something with a secret, and why.

    Ends with status 0 when it may, with 1 when it may not.
    """
    from turnlock import app  # noqa: PLC0415 (heavy)
    from turnlock.shell import explainer  # noqa: PLC0415 (heavy)

    if (principal is None) is not everyone:
        raise click.UsageError("Give either --principal or --who.")
    logs.configure()
    question = explainer.Question(
        action=action, secret=secret, region=Region(region), conditions=_conditions(context)
    )
    if principal is not None:
        named = principal
        answer = app.ask(
            data_dir, database, lambda services, unit: explainer.may(services, unit, named, question)
        )
        click.echo("\n".join(_explained(answer)))
        sys.exit(0 if answer.allowed else 1)
    answers = app.ask(data_dir, database, lambda services, unit: explainer.who(services, unit, question))
    click.echo("\n".join(_listed(answers)))


def _conditions(context: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in context:
        key, equals, value = one.partition("=")
        if not equals:
            raise click.BadParameter("A condition key is given as KEY=VALUE.", param_hint="--context")
        found.setdefault(key.lower(), []).append(value)
    return found


def _explained(answer: Answer) -> Iterator[str]:
    for step in answer.steps:
        yield f"{_verdict(step.allowed)}  {click.style(step.action, bold=True)}"
        yield f"  principal  {answer.principal}"
        yield f"  resource   {step.resource}"
        yield f"  because    {step.because}"
        if step.by is not None:
            yield f"  statement  {_statement(step)}"
        yield from _nearest(step)


def _verdict(allowed: bool) -> str:
    return (
        click.style("ALLOWED", fg="green", bold=True)
        if allowed
        else click.style("DENIED", fg="red", bold=True)
    )


def _statement(step: Explanation) -> str:
    by = step.by
    assert by is not None
    return _place(by.policy, by.number, by.sid)


def _place(policy: str, number: int, sid: str | None) -> str:
    if number == 0:
        return f"{policy} (it cannot be read, and so denies everything)"
    return f"{number}{f' ({sid})' if sid else ''} of {policy}"


def _nearest(step: Explanation) -> Iterator[str]:
    if step.nearest is None:
        return
    one = step.nearest.statement
    yield f"  nearest    {_place(one.policy, one.number, one.sid)}"
    for lack in step.nearest.lacks:
        yield f"             {click.style('✗', fg='red')} {lack}"


def _listed(answers: Sequence[Answer]) -> Iterator[str]:
    allowed = [answer for answer in answers if answer.allowed]
    width = max((len(answer.principal) for answer in allowed), default=0)
    for answer in allowed:
        first = answer.steps[0]
        why = first.because if first.by is None else f"{first.because}: {_statement(first)}"
        yield f"{answer.principal:<{width}}  {click.style(why, dim=True)}"
    yield click.style(f"{len(allowed)} of {len(answers)} principals can do it.", bold=True)
