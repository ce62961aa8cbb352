"""One request, as policies see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from turnlock.core.work import Work
from turnlock.policies.callers import Caller

Lookup = Callable[[str], Sequence[str]]
"""Returns the values of a condition key, which is given in lower case; none where the request has no such key."""


class Asked(NamedTuple):
    """One request, with what deciding it may still cost."""

    action: str
    """Such as `secretsmanager:getsecretvalue`, in lower case: actions are compared without regard to case."""
    resource: str
    """The ARN, or what the caller wrote where nothing was found, or `*`."""
    lookup: Lookup
    caller: Caller
    """Looked at by policies that name principals."""
    work: Work
    remembered: bool = True
    """False where the policies are the request's own, and nothing of them is worth remembering."""


class Unreadable(Exception):
    """A value of a policy or a request that what compares it cannot read. A Deny that asks for it holds, an Allow does not."""
