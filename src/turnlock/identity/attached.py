"""Policies with what they are attached to, and what they rule together about one call.

Which statements concern an action on a resource is remembered, for the policies, actions and resources that were asked about
last: most calls look at one or two statements of the many that a principal has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from turnlock.identity.callers import Level
from turnlock.identity.compiled import Asked, CompiledStatement, compile_policy
from turnlock.identity.policy import Effect
from turnlock.identity.policy_reader import Form

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attached:
    """A compiled policy with what it is attached to. Compared by identity, because it is made once: `attach`."""

    kind: PolicyKind
    name: str
    statements: tuple[CompiledStatement, ...]


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
    """Return a policy, compiled. One that cannot be read denies everything, because it could deny anything."""
    return Attached(kind=kind, name=name, statements=compile_policy(text, FORMS[kind]))


FORMS: Final = {
    PolicyKind.RESOURCE: Form.RESOURCE,
    PolicyKind.TRUST: Form.TRUST,
    PolicyKind.IDENTITY: Form.IDENTITY,
    PolicyKind.BOUNDARY: Form.IDENTITY,
    PolicyKind.SESSION: Form.IDENTITY,
}


def denial(policies: Group, asked: Asked) -> Ruling | None:
    """Return the first statement that denies the call, None when none does."""
    for ruling in _concerning(policies, asked.action, asked.resource)[0]:
        statement = ruling.statement
        if statement.level(asked) and statement.applies(asked):
            return ruling
    return None


def allowance(policies: Group, asked: Asked) -> tuple[Ruling | None, Level]:
    """Return the statement that allows the call by the strongest of the caller's names; (None, NONE) without one."""
    best, strongest = NO_RULING
    for ruling in _concerning(policies, asked.action, asked.resource)[1]:
        statement = ruling.statement
        level = statement.level(asked)
        if level > strongest and statement.applies(asked):
            best, strongest = ruling, level
            if level is Level.SELF:
                break
    return best, strongest


@lru_cache(maxsize=MOST_REMEMBERED)
def _concerning(policies: Group, action: str, resource: str) -> tuple[tuple[Ruling, ...], tuple[Ruling, ...]]:
    """Return the statements that deny an action on a resource, and those that allow it, to someone, somehow."""
    found = [
        (attached, statement)
        for attached in policies
        for statement in attached.statements
        if statement.concerns(action, resource)
    ]
    denying, allowing = (
        tuple(_ruling(attached, one) for attached, one in found if one.source.effect is effect)
        for effect in (Effect.DENY, Effect.ALLOW)
    )
    return denying, allowing


def cite(attached: Attached, statement: CompiledStatement) -> Cited:
    """Return a statement as it is shown to people."""
    return Cited(kind=attached.kind, policy=attached.name, number=statement.number, sid=statement.source.sid)


def _ruling(attached: Attached, statement: CompiledStatement) -> Ruling:
    cited = cite(attached, statement)
    return Ruling(statement, cited, Allowed(by=cited))
