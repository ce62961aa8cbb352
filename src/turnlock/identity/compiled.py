"""Policy documents, compiled: what a statement says of one request.

A document is compiled once for its text, and remembers which of its statements an action concerns: most requests look at
a few statements of the many that a principal has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from turnlock.identity.callers import Caller, Level, level_in
from turnlock.identity.operators import Check, compile_condition
from turnlock.identity.policy import Document, Effect, Patterns, Statement
from turnlock.identity.policy_reader import Form, read_policy
from turnlock.identity.variables import Lookup, Pattern, resource_pattern
from turnlock.identity.wildcards import Matcher, compile_parts, parts_of

MOST_ACTIONS: Final = 512
"""Actions whose statements a document remembers; servers have fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, as policies see it."""

    action: str
    """Such as `secretsmanager:getsecretvalue`, in lower case: actions are compared without regard to case."""
    resource: str
    """The ARN, or what the caller wrote where nothing was found, or `*`."""
    lookup: Lookup
    caller: Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledStatement:
    """One statement."""

    source: Statement
    number: int
    """From 1, in its document."""
    actions: Callable[[str], bool]
    resources: Sequence[Pattern]
    resources_negated: bool
    checks: Sequence[Check]

    def covers_resource(self, asked: Asked) -> bool:
        """Tell whether the resource is among the statement's; a trust policy's statement names none, and is for its own."""
        if not self.resources:
            return True
        found = any(pattern.matches(asked.resource, asked.lookup) for pattern in self.resources)
        return found is not self.resources_negated

    def failing(self, asked: Asked) -> Iterator[Check]:
        """Yield the conditions that do not hold."""
        return (check for check in self.checks if not check.holds(asked.lookup))

    def applies(self, asked: Asked) -> bool:
        """Tell whether the statement is about the request, where its action and its principal are."""
        return self.covers_resource(asked) and next(self.failing(asked), None) is None

    def level(self, asked: Asked) -> Level:
        """Return by which of its names the statement names the caller; SELF for a policy of an identity, which names none."""
        return level_in(self.source, asked.caller) if self.source.principals else Level.SELF


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledPolicy:
    """One document. Shared between requests; nothing of a request is kept in it."""

    readable: bool
    """False for a text that is no policy: it denies everything, because it could deny anything."""
    statements: Sequence[CompiledStatement]
    _concerning: dict[str, tuple[Sequence[CompiledStatement], Sequence[CompiledStatement]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def concerning(self, action: str) -> tuple[Sequence[CompiledStatement], Sequence[CompiledStatement]]:
        """Return the statements that deny an action, and those that allow it, on some resource to someone."""
        found = self._concerning.get(action)
        if found is None:
            covering = [one for one in self.statements if one.actions(action)]
            denying = [one for one in covering if one.source.effect is Effect.DENY]
            allowing = [one for one in covering if one.source.effect is Effect.ALLOW]
            found = denying, allowing
            if len(self._concerning) < MOST_ACTIONS:
                self._concerning[action] = found
        return found

    def denying(self, asked: Asked) -> CompiledStatement | None:
        """Return the first statement that denies the request, None when none does."""
        for statement in self.concerning(asked.action)[0]:
            if statement.level(asked) and statement.applies(asked):
                return statement
        return None

    def allowing(self, asked: Asked) -> tuple[CompiledStatement | None, Level]:
        """Return the statement that allows the request by the strongest of the caller's names; (None, NONE) without one."""
        best, strongest = None, Level.NONE
        for statement in self.concerning(asked.action)[1]:
            level = statement.level(asked)
            if level > strongest and statement.applies(asked):
                best, strongest = statement, level
        return best, strongest


@lru_cache(maxsize=2048)
def compile_policy(text: str, form: Form) -> CompiledPolicy:
    """Compile the text of a policy; one that cannot be read denies everything."""
    try:
        return compile_document(read_policy(text, form))
    except ValueError:
        return CompiledPolicy(readable=False, statements=())


def compile_document(document: Document) -> CompiledPolicy:
    """Compile a document that was read."""
    variables = document.version == "2012-10-17"
    return CompiledPolicy(
        readable=True,
        statements=[
            _compile(statement, number, variables=variables)
            for number, statement in enumerate(document.statements, 1)
        ],
    )


def _compile(statement: Statement, number: int, *, variables: bool) -> CompiledStatement:
    return CompiledStatement(
        source=statement,
        number=number,
        actions=_actions(statement.actions),
        resources=[resource_pattern(text, variables=variables) for text in statement.resources.texts],
        resources_negated=statement.resources.negated,
        checks=[
            compile_condition(condition, statement.effect, variables=variables)
            for condition in statement.conditions
        ],
    )


def _actions(patterns: Patterns) -> Callable[[str], bool]:
    matchers: list[Matcher] = [compile_parts(parts_of(text.lower())) for text in patterns.texts]
    return lambda action: any(matcher(action) for matcher in matchers) is not patterns.negated
