"""RDS's actions, together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from turnlock.core.action import Action, Answer, Request, Subject, no_resource
from turnlock.core.call import Call
from turnlock.errors import ApiError
from turnlock.rds import catalogue, clusters, instances, tagging
from turnlock.storage import Unit


def actions(*, allow_unconfined: bool) -> tuple[Action, ...]:
    """Return every action. `allow_unconfined`: local servers are made also where the machine cannot confine them."""
    made = instances.actions(allow_unconfined=allow_unconfined)
    every = (*catalogue.ACTIONS, *clusters.ACTIONS, *made, *tagging.ACTIONS)
    return tuple(map(_taking_blanks_as_absent, every))


def _taking_blanks_as_absent(action: Action) -> Action:
    """Return the action as RDS has it: a text that is empty says the same as one that is not there, to policies too."""

    def handler(call: Call, request: Request, unit: Unit) -> Answer | ApiError:
        return action.handler(call, _given(action.name, request), unit)

    def subject(call: Call, request: Request, unit: Unit) -> Subject:
        return action.subject(call, _given(action.name, request), unit)

    if action.subject is no_resource:
        return replace(action, handler=handler)
    return replace(action, handler=handler, subject=subject)


def _given(operation: str, request: Request) -> Request:
    needed = REQUIRED.get(operation, frozenset())
    return {member: value for member, value in request.items() if value != "" or member in needed}


_INSTANCE, _CLUSTER = "DBInstanceIdentifier", "DBClusterIdentifier"
REQUIRED: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "AddTagsToResource": frozenset({"ResourceName"}),
        "CreateDBCluster": frozenset({_CLUSTER, "Engine"}),
        "CreateDBInstance": frozenset({_INSTANCE, "DBInstanceClass", "Engine"}),
        "DeleteDBCluster": frozenset({_CLUSTER}),
        "DeleteDBInstance": frozenset({_INSTANCE}),
        "DescribeOrderableDBInstanceOptions": frozenset({"Engine"}),
        "ListTagsForResource": frozenset({"ResourceName"}),
        "ModifyDBCluster": frozenset({_CLUSTER}),
        "ModifyDBInstance": frozenset({_INSTANCE}),
        "RemoveTagsFromResource": frozenset({"ResourceName"}),
    }
)
"""Texts that an operation's model requires, by operation: an empty one is there, and refused for what it is."""


ACTIONS = actions(allow_unconfined=False)
