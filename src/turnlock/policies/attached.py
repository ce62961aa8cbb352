"""Policies with what they are attached to, and what they rule together about one call.

Which statements concern an action on a resource is remembered, for the policies, actions and resources that were asked about
last: most calls look at one or two statements of the many that a principal has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

from turnlock.core.work import Work, WorkSpent
from turnlock.policies.asked import Asked
from turnlock.policies.callers import Level
from turnlock.policies.compiled import CompiledStatement, compile_policy
from turnlock.policies.document import Effect
from turnlock.policies.reader import Form, reading

MOST_REMEMBERED: Final = 32_768
"""Combinations of policies, action and resource whose statements are remembered."""


class PolicyKind(Enum):
    """The kinds of policies, in the words of AWS's denials: where one does not allow, and where one denies."""

    RESOURCE = ("resource-based policy", "a resource-based policy")
    TRUST = ("role trust policy", "the role trust policy")
    IDENTITY = ("identity-based policy", "an identity-based policy")
    BOUNDARY = ("permissions boundary", "a permissions boundary")
    SESSION = ("session policy", "a sessions policy")

    __hash__ = object.__hash__  # members are singletons; Enum's own hash is a Python call at each look-up


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited:
    """The statement that decided."""

    kind: PolicyKind
    policy: str
    """The policy's name, as `NamedPolicy` has it; the resource's ARN for its own policy."""
    number: int
    """The statement, from 1; 0 for a whole policy that cannot be read."""
    sid: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The call may go on."""

    by: Cited | None = field(default=None, compare=False)
    """The statement that allows it; None where none is needed."""


class Attached:
    """A policy with what it is attached to, compiled when it is first looked at. Compared by identity: see `attach`."""

    def __init__(self, kind: PolicyKind, name: str, text: str) -> None:
        self.kind = kind
        self.name = name
        self._text = text
        self.reading = reading(text)
        """Units of work that it takes to read and compile it."""

    @cached_property
    def statements(self) -> tuple[CompiledStatement, ...]:
        """The statements; of a policy that cannot be read, one that denies everything, because it could deny anything."""
        return compile_policy(self._text, FORMS[self.kind])


Group = tuple[Attached, ...]
"""Policies of which any may allow."""


class Policies(NamedTuple):
    """Every policy that has a say in one call."""

    resource: Group = ()
    """The resource's own: one, or none."""
    identity: Group = ()
    boundary: Group = ()
    """One, or none."""
    session: Group = ()
    """Empty where nothing narrows a session."""

    @property
    def all(self) -> Group:
        """All of them, in the order in which a denial is looked for."""
        return self.resource + self.identity + self.boundary + self.session


class Ruling(NamedTuple):
    """A statement that can decide, with what it decides then."""

    statement: CompiledStatement
    cited: Cited
    allowed: Allowed


NO_RULING: Final[tuple[Ruling | None, Level]] = (None, Level.NONE)


@lru_cache(maxsize=4096)
def attach(kind: PolicyKind, name: str, text: str) -> Attached:
    """Return a policy that is stored, made once for its text."""
    return Attached(kind, name, text)


FORMS: Final = {
    PolicyKind.RESOURCE: Form.RESOURCE,
    PolicyKind.TRUST: Form.TRUST,
    PolicyKind.IDENTITY: Form.IDENTITY,
    PolicyKind.BOUNDARY: Form.IDENTITY,
    PolicyKind.SESSION: Form.IDENTITY,
}


def denial(policies: Group, asked: Asked) -> Ruling | None:
    """Return the first statement that denies the call, None when none does. Raises WorkSpent."""
    for ruling in _those_that_concern(policies, asked).denying:
        statement = ruling.statement
        if statement.level(asked) and statement.applies(asked):
            return ruling
    return None


def allowance(policies: Group, asked: Asked) -> tuple[Ruling | None, Level]:
    """Return the statement that allows the call by the strongest of the caller's names; (None, NONE) without one.

    Raises WorkSpent.
    """
    best, strongest = NO_RULING
    for ruling in _those_that_concern(policies, asked).allowing:
        statement = ruling.statement
        level = statement.level(asked)
        if level > strongest and statement.applies(asked):
            best, strongest = ruling, level
            if level is Level.SELF:
                break
    return best, strongest


class Concerning(NamedTuple):
    """The statements of some policies that are about an action on a resource, to someone, somehow."""

    denying: tuple[Ruling, ...]
    allowing: tuple[Ruling, ...]
    cost: int
    """Units of work that finding them takes."""


def _those_that_concern(policies: Group, asked: Asked) -> Concerning:
    """Return the statements that can decide. They cost the same whether they are remembered or not. Raises WorkSpent."""
    work = asked.work
    if policies not in work.paid:
        for attached in policies:
            work.charge_once(attached, attached.reading)
        work.paid.add(policies)
    if not asked.remembered:
        return _found(policies, asked.action, asked.resource, work)
    found = _concerning(policies, asked.action, asked.resource)
    work.charge(found.cost)
    return found


@lru_cache(maxsize=MOST_REMEMBERED)
def _concerning(policies: Group, action: str, resource: str) -> Concerning:
    work = Work()
    before = work.left
    try:
        found = _found(policies, action, resource, work)
    except WorkSpent:
        return Concerning((), (), before + 1)
    return found._replace(cost=before - work.left)


def _found(policies: Group, action: str, resource: str, work: Work) -> Concerning:
    found = [
        (attached, statement)
        for attached in policies
        for statement in attached.statements
        if statement.concerns(action, resource, work)
    ]
    denying, allowing = (
        tuple(_ruling(attached, one) for attached, one in found if one.source.effect is effect)
        for effect in (Effect.DENY, Effect.ALLOW)
    )
    return Concerning(denying, allowing, 0)


def cite(attached: Attached, statement: CompiledStatement) -> Cited:
    """Return a statement as it is shown to people."""
    return Cited(kind=attached.kind, policy=attached.name, number=statement.number, sid=statement.source.sid)


def _ruling(attached: Attached, statement: CompiledStatement) -> Ruling:
    cited = cite(attached, statement)
    return Ruling(statement, cited, Allowed(by=cited))
