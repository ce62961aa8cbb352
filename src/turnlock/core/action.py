"""What an action is: a name of the service model, what it touches, and the function that carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from turnlock.core.call import Call, Principal
from turnlock.errors import ApiError

Request = Mapping[str, Any]
"""Parsed, validated input in the service model's shapes: blobs are bytes, timestamps aware datetimes, absent members absent."""

Answer = Mapping[str, Any]
"""Output in the service model's shapes; a member whose value is None is left out on the wire."""


class Pending(dict[str, Any]):
    """An answer that is still to be got, outside of any unit of work: what it takes may call this server itself.

    `finish` blocks, for minutes where it must; it returns the answer or raises an ApiError.
    """

    def __init__(self, finish: Callable[[], Answer]) -> None:
        super().__init__()
        self.finish = finish


ConditionValues = Mapping[str, Sequence[str]]
"""Condition keys in lower case, each with its values as policies spell them: `true`, `7`, `2026-11-25T12:00:00Z`, a text.

A key that is absent here is absent from the request. A key with one value and a key with many are told apart by the policy's
operator, not here.
"""


def no_conditions() -> ConditionValues:
    """Return the conditions of a call that has none of its own."""
    return {}


Prepare = Callable[[Call, Request, Any], Callable[[], Any]]
"""See `Action.prepare`."""


def of_request(work: Callable[[Request], Any]) -> Prepare:
    """Return the `prepare` of work that hangs on the request alone."""
    return lambda _call, request, _unit: partial(work, request)


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a call is about, as the gate authorises it."""

    arn: str | None
    """The ARN of the resource that was found, or that will be made; None when there is none (or the action has no resource)."""
    named: str
    """The resource as the caller named it, or `*` for actions without one: all that a denial may show."""
    policy: str | None = None
    """The policy that is attached to the resource (JSON), its MAC already checked; None without one."""
    policy_decides: bool = False
    """True where an identity's policies count only as far as `policy` hands over to its account: KMS keys, roles to assume."""
    granted: Callable[[Principal], bool] | None = None
    """Tells whether a grant on the resource (KMS) lets this principal do what the call asks; None where there are no grants."""
    absent: Callable[[], Subject] | None = None
    """Returns what the call would be about were there no such resource. Where it is given, a denial to who may not describe the
    resource is the one that an absent resource gets; None where the two need not be told alike."""
    conditions: Callable[[], ConditionValues] = no_conditions
    """The condition keys that the service adds for this call. Asked only where a policy has a condition or a variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One row of a service's table of actions.

    `handler(call, request, unit)` returns the answer or raises an ApiError; it never commits, waits or records. What it wrote
    before it raised is undone. An ApiError that it returns is the same refusal, and what it wrote is kept: so a wrong password
    is counted.
    `subject(call, request, unit)` finds what the call is about and never raises for what is absent.
    The unit's type is storage's `Unit`; core cannot name it.
    """

    name: str
    handler: Callable[[Call, Request, Any], Answer | ApiError]
    subject: Callable[[Call, Request, Any], Subject]
    mutates: bool
    """True when it runs in a unit of work that can write."""
    permission: str | None = None
    """The action's name in policies where that is another than the operation's: `InvokeFunction` for Lambda's Invoke."""
    judge: Callable[[Call, Request, Any], Call] | None = None
    """Judges a credential that came in the request beside its signature, once, before the request is authorised.

    Returns the call with what was found out. What it writes is kept, however the request ends.
    """
    prepare: Prepare | None = None
    """Returns work that takes long: it reads no store and changes nothing. What it needs of the store `prepare` reads.

    A server does it before the unit of work begins, on a thread of its own, and only for a caller who may call. The handler
    gets what it returns, or raises what it raises, from `call.gate.prepared()`, at the place where it would do the work itself. What
    `prepare` read may have changed by then.
    """


def no_resource(_call: Call, _request: Request, _unit: object) -> Subject:
    """Return the subject of actions that have no resource type: `*`."""
    return Subject(arn=None, named="*")
