"""Policy documents, compiled: what a statement says of one request.

A document is compiled once for its text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final

from turnlock.core.work import Work
from turnlock.policies.asked import Asked, Unreadable
from turnlock.policies.callers import NOBODY, Level, level_in
from turnlock.policies.document import Document, Effect, Patterns, Statement
from turnlock.policies.operators import Check, compile_condition
from turnlock.policies.reader import Form, read_policy
from turnlock.policies.variables import Pattern, resource_pattern
from turnlock.policies.wildcards import Matcher, compile_glob, is_wild


class CompiledStatement:
    """One statement. What only some calls look at is compiled when the first one does. Compared by identity."""

    def __init__(self, source: Statement, number: int, *, variables: bool) -> None:
        self.source = source
        self.number = number
        """From 1, in its document; 0 for one that cannot be read."""
        self._variables = variables
        self._named = _TEST * len(source.principals)

    @cached_property
    def _actions(self) -> tuple[frozenset[str], Sequence[Matcher]]:
        """The actions that are named, and the patterns of others."""
        texts = [text.lower() for text in self.source.actions.texts]
        return (
            frozenset(text for text in texts if not is_wild(text)),
            [compile_glob(text) for text in texts if is_wild(text)],
        )

    @cached_property
    def _resources(self) -> Sequence[Pattern]:
        texts = self.source.resources.texts
        return [resource_pattern(text, variables=self._variables) for text in texts]

    @cached_property
    def _fixed(self) -> bool:
        """True where no resource has a variable."""
        return all(pattern.fixed for pattern in self._resources)

    @cached_property
    def _checks(self) -> Sequence[Check]:
        source = self.source
        return [
            compile_condition(condition, source.effect, variables=self._variables)
            for condition in source.conditions
        ]

    def covers_action(self, action: str, work: Work) -> bool:
        """Tell whether an action, in lower case, is among the statement's. Raises WorkSpent."""
        named, patterns = self._actions
        work.charge(_TEST * (1 + len(patterns)))
        found = action in named or any(matcher(action, work) for matcher in patterns)
        return found is not self.source.actions.negated

    def covers_resource(self, asked: Asked) -> bool:
        """Tell whether the resource is among the statement's; a trust policy's statement names none, and is for its own.

        A resource that cannot be read is among a Deny's and not among an Allow's. Raises WorkSpent.
        """
        if not self._resources:
            return True
        asked.work.charge(_TEST * len(self._resources))
        denies = self.source.effect is Effect.DENY
        try:
            found = [pattern.matches(asked.resource, asked) for pattern in self._resources]
        except Unreadable:
            return denies
        if not self.source.resources.negated:
            return any(found)
        # What a variable without a value (None) leaves out of an Allow, nobody knows.
        return not any(found) if denies else all(one is False for one in found)

    def concerns(self, action: str, resource: str, work: Work) -> bool:
        """Tell whether the statement can be about this action on this resource; variables stand for anything yet.

        Raises WorkSpent.
        """
        if not self.covers_action(action, work):
            return False
        return not self._fixed or self.covers_resource(Asked(action, resource, _no_values, NOBODY, work))

    def failing(self, asked: Asked) -> Iterator[Check]:
        """Yield the conditions that do not hold. Raises WorkSpent."""
        return (check for check in self._checks if not check.holds(asked))

    def applies(self, asked: Asked) -> bool:
        """Tell whether a statement that concerns the action and resource is about the request. Raises WorkSpent."""
        if not (self._fixed or self.covers_resource(asked)):
            return False
        return not self._checks or next(self.failing(asked), None) is None

    def level(self, asked: Asked) -> Level:
        """Return by which of its names the statement names the caller; SELF for a policy of an identity, which names none."""
        if not self.source.principals:
            return Level.SELF
        asked.work.charge(self._named)
        return level_in(self.source, asked.caller)


_TEST: Final = 6
"""Units of work that one pattern or name costs, whatever it is."""


def _no_values(_key: str) -> Sequence[str]:
    return ()


def compile_policy(text: str, form: Form) -> tuple[CompiledStatement, ...]:
    """Return the statements of a policy; of one that cannot be read, a single one that denies everything to everyone."""
    try:
        return compile_document(read_policy(text, form))
    except ValueError:
        return (CompiledStatement(_DENY_ALL, 0, variables=False),)


def compile_document(document: Document) -> tuple[CompiledStatement, ...]:
    """Return the statements of a document that was read."""
    variables = document.version == "2012-10-17"
    return tuple(
        CompiledStatement(statement, number, variables=variables)
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
