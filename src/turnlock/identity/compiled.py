"""Policy documents, compiled: what a statement says of one request.

A document is compiled once for its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from turnlock.identity.callers import Caller, Level, level_in
from turnlock.identity.operators import Check, compile_condition
from turnlock.identity.policy import Document, Effect, Patterns, Statement
from turnlock.identity.policy_reader import Form, read_policy
from turnlock.identity.variables import Lookup, Pattern, resource_pattern
from turnlock.identity.wildcards import Matcher, compile_parts, parts_of


class Asked(NamedTuple):
    """One request, as policies see it."""

    action: str
    """Such as `secretsmanager:getsecretvalue`, in lower case: actions are compared without regard to case."""
    resource: str
    """The ARN, or what the caller wrote where nothing was found, or `*`."""
    lookup: Lookup
    caller: Caller
    """Looked at by policies that name principals."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompiledStatement:
    """One statement."""

    source: Statement
    number: int
    """From 1, in its document; 0 for one that cannot be read."""
    actions: Callable[[str], bool]
    resources: Sequence[Pattern]
    resources_negated: bool
    fixed: bool
    """True where no resource has a variable."""
    checks: Sequence[Check]

    def covers_resource(self, asked: Asked) -> bool:
        """Tell whether the resource is among the statement's; a trust policy's statement names none, and is for its own."""
        return self._covers(asked.resource, asked.lookup)

    def concerns(self, action: str, resource: str) -> bool:
        """Tell whether the statement can be about this action on this resource; variables stand for anything yet."""
        return self.actions(action) and (not self.fixed or self._covers(resource, _no_values))

    def _covers(self, resource: str, lookup: Lookup) -> bool:
        if not self.resources:
            return True
        found = any(pattern.matches(resource, lookup) for pattern in self.resources)
        return found is not self.resources_negated

    def failing(self, asked: Asked) -> Iterator[Check]:
        """Yield the conditions that do not hold."""
        return (check for check in self.checks if not check.holds(asked.lookup))

    def applies(self, asked: Asked) -> bool:
        """Tell whether a statement that concerns the request's action and resource is about the request."""
        if not (self.fixed or self.covers_resource(asked)):
            return False
        return not self.checks or next(self.failing(asked), None) is None

    def level(self, asked: Asked) -> Level:
        """Return by which of its names the statement names the caller; SELF for a policy of an identity, which names none."""
        return level_in(self.source, asked.caller) if self.source.principals else Level.SELF


def _no_values(_key: str) -> Sequence[str]:
    return ()


def compile_policy(text: str, form: Form) -> tuple[CompiledStatement, ...]:
    """Return the statements of a policy; of one that cannot be read, a single one that denies everything to everyone."""
    try:
        return compile_document(read_policy(text, form))
    except ValueError:
        return (_compile(_DENY_ALL, 0, variables=False),)


def compile_document(document: Document) -> tuple[CompiledStatement, ...]:
    """Return the statements of a document that was read."""
    variables = document.version == "2012-10-17"
    return tuple(
        _compile(statement, number, variables=variables)
        for number, statement in enumerate(document.statements, 1)
    )


_EVERYTHING: Final = Patterns(texts=("*",), negated=False)
_DENY_ALL: Final = Statement(
    sid=None,
    effect=Effect.DENY,
    principals=(),
    principals_negated=False,
    actions=_EVERYTHING,
    resources=_EVERYTHING,
    conditions=(),
)


def _compile(statement: Statement, number: int, *, variables: bool) -> CompiledStatement:
    resources = [resource_pattern(text, variables=variables) for text in statement.resources.texts]
    return CompiledStatement(
        source=statement,
        number=number,
        actions=_actions(statement.actions),
        resources=resources,
        fixed=all(pattern.fixed for pattern in resources),
        resources_negated=statement.resources.negated,
        checks=[
            compile_condition(condition, statement.effect, variables=variables)
            for condition in statement.conditions
        ],
    )


def _actions(patterns: Patterns) -> Callable[[str], bool]:
    matchers: list[Matcher] = [compile_parts(parts_of(text.lower())) for text in patterns.texts]
    return lambda action: any(matcher(action) for matcher in matchers) is not patterns.negated
