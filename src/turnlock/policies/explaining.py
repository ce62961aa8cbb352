"""Why a call is allowed or denied: the statement that decides, and where none does, the one that came nearest.

Pure. The decision is the evaluator's own; what is added is a reading of each statement, element by element.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from turnlock.core.action import ConditionValues, Subject
from turnlock.core.call import Call, PrincipalKind
from turnlock.core.work import LIMIT, Work, WorkSpent
from turnlock.policies.asked import Asked
from turnlock.policies.attached import Allowed, Cited, Group, Policies, PolicyKind, cite
from turnlock.policies.callers import Level
from turnlock.policies.compiled import CompiledStatement
from turnlock.policies.context import Context, Holdings
from turnlock.policies.document import Effect, Quantifier
from turnlock.policies.evaluation import TOO_MUCH_WORK, Standing, asked_of, policies_of, standing_of, weigh
from turnlock.policies.operators import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A statement that allows, but not this call."""

    statement: Cited
    lacks: Sequence[str]
    """What would have to be otherwise, each as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What was decided over one call, and why."""

    principal: str
    action: str
    """Such as `secretsmanager:GetSecretValue`."""
    resource: str
    allowed: bool
    because: str
    """The reason, as one sentence."""
    by: Cited | None
    """The statement that allows or denies; None where none does."""
    nearest: Miss | None = None
    """What came nearest to allowing a call that nothing allows."""


def explain(
    call: Call, action: str, subject: Subject, holdings: Holdings, further: ConditionValues | None = None
) -> Explanation:
    """Explain the decision over a call; `action` is without its service, `further` are condition keys that win."""
    context = Context(call=call, holdings=holdings, subject=subject, further=further)
    asked = asked_of(call, action, subject, context, Work())
    policies, standing = policies_of(call, subject, holdings), standing_of(call, subject)
    try:
        weighed = weigh(asked, policies, standing)
    except WorkSpent:
        return Explanation(
            principal=call.principal.arn,
            action=f"{call.service}:{action}",
            resource=asked.resource,
            allowed=False,
            because=TOO_MUCH_WORK,
            by=None,
        )
    by = weighed.by if isinstance(weighed, Allowed) else weighed if isinstance(weighed, Cited) else None
    return Explanation(
        principal=call.principal.arn,
        action=f"{call.service}:{action}",
        resource=asked.resource,
        allowed=isinstance(weighed, Allowed),
        because=_because(weighed, call, standing),
        by=by,
        nearest=_nearest(asked, policies, weighed, standing) if isinstance(weighed, PolicyKind) else None,
    )


def _because(weighed: Allowed | Cited | PolicyKind, call: Call, standing: Standing) -> str:
    if isinstance(weighed, PolicyKind):
        return f"no {weighed.value[0]} allows it"
    if isinstance(weighed, Cited):
        return f"{weighed.kind.value[1]} denies it"
    if weighed.by is not None:
        return f"{weighed.by.kind.value[1]} allows it"
    if call.principal.kind is PrincipalKind.ROOT and not standing.policy_decides:
        return "the account's root user may do everything in its account"
    return "a grant allows it"


def _nearest(asked: Asked, policies: Policies, lacking: PolicyKind, standing: Standing) -> Miss | None:
    # What comes near is for people to read, and no part of the decision: it has work of its own.
    asked = asked._replace(work=Work(10 * LIMIT))
    misses = [
        Miss(
            statement=cite(attached, statement),
            lacks=lacks,
        )
        for attached in _candidates(policies, lacking)
        for statement in attached.statements
        if statement.source.effect is Effect.ALLOW
        and (lacks := list(_lacks(statement, asked, attached.kind, standing)))
    ]
    return min(misses, key=_distance, default=None)


def _candidates(policies: Policies, lacking: PolicyKind) -> Group:
    return {
        PolicyKind.IDENTITY: policies.identity + policies.resource,
        PolicyKind.RESOURCE: policies.resource,
        PolicyKind.TRUST: policies.resource,
        PolicyKind.BOUNDARY: policies.boundary,
        PolicyKind.SESSION: policies.session,
    }[lacking]


def _distance(miss: Miss) -> tuple[int, int]:
    """Return how far a statement is from allowing: how much it lacks, and conditions before resources before actions."""
    return len(miss.lacks), sum(_WEIGHTS.get(lack.partition(" ")[0], 0) for lack in miss.lacks)


_WEIGHTS: Final = {"Principal": 1, "Resource": 1, "Action": 2, "Account": 3}
"""By the first word of what is lacking."""


def _lacks(statement: CompiledStatement, asked: Asked, kind: PolicyKind, standing: Standing) -> Iterator[str]:
    source = statement.source
    if not statement.covers_action(asked.action, asked.work):
        yield f"{'NotAction' if source.actions.negated else 'Action'} is {_listed(source.actions.texts)}"
    if not statement.covers_resource(asked):
        element = "NotResource" if source.resources.negated else "Resource"
        yield f"{element} is {_listed(source.resources.texts)}"
    if kind in (PolicyKind.RESOURCE, PolicyKind.TRUST):
        yield from _lacking_principal(statement, asked, standing)
    for check in statement.failing(asked):
        yield _unmet(check, asked)


def _lacking_principal(statement: CompiledStatement, asked: Asked, standing: Standing) -> Iterator[str]:
    level = statement.level(asked)
    if level is Level.NONE:
        element = "NotPrincipal" if statement.source.principals_negated else "Principal"
        yield f"{element} is {_listed([one.name for one in statement.source.principals])}"
    elif level is Level.ACCOUNT and not standing.across:
        yield "Account is what Principal names: a policy of the user or role must allow it too"


def _unmet(check: Check, asked: Asked) -> str:
    condition, found = check.source, asked.lookup(check.key)
    quantifier = "" if condition.quantifier is Quantifier.ONE else f"{condition.quantifier.value}:"
    operator = f"{quantifier}{condition.operator}{'IfExists' if condition.if_exists else ''}"
    has = f"the call has {_listed(found)}" if found else "the call has no such key"
    return f"Condition {operator} {condition.key} wants {_listed(condition.values)}: {has}"


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"one of {', '.join(texts)}"
