"""What an action is: a name of the service model, what it touches, and the function that carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from turnlock.core.call import Call

Request = Mapping[str, Any]
"""Parsed, validated input in the service model's shapes: blobs are bytes, timestamps aware datetimes, absent members absent."""

Answer = Mapping[str, Any]
"""Output in the service model's shapes; a member whose value is None is left out on the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a call is about, as the gate authorises it."""

    arn: str | None
    """The ARN of the resource that was found; None when there is none (or the action has no resource)."""
    named: str
    """The resource as the caller named it, or `*` for actions without one: all that a denial may show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One row of a service's table of actions.

    `handler(call, request, unit)` returns the answer or raises an ApiError; it never commits, waits or records.
    `subject(call, request, unit)` finds what the call is about and never raises for what is absent.
    The unit's type is storage's `Unit`; core cannot name it.
    """

    name: str
    handler: Callable[[Call, Request, Any], Answer]
    subject: Callable[[Call, Request, Any], Subject]
    mutates: bool
    """True when it runs in a unit of work that can write."""


def no_resource(_call: Call, _request: Request, _unit: object) -> Subject:
    """Return the subject of actions that have no resource type: `*`."""
    return Subject(arn=None, named="*")
