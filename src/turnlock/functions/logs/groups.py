"""Log groups as resources: made before anything is written, with a retention and tags, and deleted with their lines.

A group that a function wrote to is there without having been made, as Lambda makes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Column, LargeBinary, String, Table, Text, delete, func, select

from turnlock.core.action import Action, Answer, ConditionValues, Request, Subject
from turnlock.core.arn import AccountId, Region, partition_of
from turnlock.core.call import Call
from turnlock.core.tags import TagRules, request_tag_keys, resource_tag_keys
from turnlock.errors import (
    InvalidParameterException,
    LimitExceededException,
    ResourceAlreadyExistsException,
    ResourceNotFoundException,
)
from turnlock.functions.logs import store
from turnlock.functions.logs.store import function_logs
from turnlock.root_keys import Records, root_macs_of
from turnlock.storage import Unit, metadata, micros

MOST_GROUPS: Final = 10_000
"""Log groups made in one account and Region."""
RETENTIONS: Final = frozenset(
    {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731}
    | {1096, 1827, 2192, 2557, 2922, 3288, 3653}
)
"""Days that PutRetentionPolicy takes (API reference)."""


def _tags_refused() -> InvalidParameterException:
    return InvalidParameterException("A log group has 50 tags at most, and none that begins with aws:.")


TAGS: Final = TagRules(too_many=_tags_refused, is_reserved=_tags_refused)

_GROUP_ARN = re.compile(r"arn:aws[a-z-]*:logs:[a-z0-9-]+:[0-9]{12}:log-group:([^:*]+)(:\*)?")

log_groups = Table(
    "log_groups",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("region", String(32), primary_key=True),
    Column("log_group", String(512), primary_key=True),
    Column("body", Text, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogGroup:
    """One log group that was made, or was given a retention or tags."""

    account_id: AccountId
    region: Region
    name: str
    created_at: datetime
    retention: int | None = None
    """Days; None where none was put. Lines go after KEPT_DAYS all the same."""
    tags: Mapping[str, str] = field(default_factory=dict)
    log_class: str = "STANDARD"


GROUPS: Final = Records(
    log_groups,
    LogGroup,
    lambda one: {"account_id": one.account_id, "region": one.region, "log_group": one.name},
)
MACS: Final = (root_macs_of(log_groups),)
"""What a rotation of the root key writes anew."""


def create_log_group(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateLogGroup. Raises ResourceAlreadyExistsException, InvalidParameterException for what no group has here."""
    name = request["logGroupName"]
    if "kmsKeyId" in request or request.get("deletionProtectionEnabled", False):
        raise InvalidParameterException("kmsKeyId and deletionProtectionEnabled are not supported.")
    taken = ResourceAlreadyExistsException("The specified log group already exists")
    if _implicit(unit, call, name) is not None:
        raise taken
    place = (log_groups.c.account_id == call.account_id, log_groups.c.region == call.region)
    counted = select(func.count()).select_from(log_groups).where(*place)
    if unit.connection.execute(counted).scalar_one() >= MOST_GROUPS:
        raise LimitExceededException("Resource limit exceeded.")
    group = LogGroup(
        account_id=call.account_id,
        region=call.region,
        name=name,
        created_at=unit.now,
        tags=_tagged({}, request.get("tags", {})),
        log_class=request.get("logGroupClass", "STANDARD"),
    )
    GROUPS.insert(unit, group, taken=taken)
    return {}


def delete_log_group(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteLogGroup: the group and all its lines. Raises ResourceNotFoundException."""
    group = require_group(unit, call, request["logGroupName"])
    GROUPS.delete(unit, group)
    unit.connection.execute(
        delete(function_logs).where(
            function_logs.c.account_id == group.account_id,
            function_logs.c.region == group.region,
            function_logs.c.log_group == group.name,
        )
    )
    return {}


def put_retention_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """PutRetentionPolicy: what is longer than KEPT_DAYS is kept and shown, and lines go after KEPT_DAYS all the same."""
    days = request["retentionInDays"]
    if days not in RETENTIONS:
        raise InvalidParameterException(
            "Invalid retention value. Valid values are those of the API reference."
        )
    return _changed(unit, call, request["logGroupName"], retention=days)


def delete_retention_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteRetentionPolicy."""
    return _changed(unit, call, request["logGroupName"], retention=None)


def tag(call: Call, request: Request, unit: Unit) -> Answer:
    """TagResource and TagLogGroup."""
    group = require_group(unit, call, group_of(call, request))
    return _changed(unit, call, group.name, tags=_tagged(group.tags, request["tags"]))


def untag(call: Call, request: Request, unit: Unit) -> Answer:
    """UntagResource and UntagLogGroup; keys that are not there are no error."""
    group = require_group(unit, call, group_of(call, request))
    gone = request["tagKeys"] if "tagKeys" in request else request["tags"]
    return _changed(unit, call, group.name, tags=TAGS.without(group.tags, gone))


def list_tags(call: Call, request: Request, unit: Unit) -> Answer:
    """ListTagsForResource and ListTagsLogGroup."""
    return {"tags": dict(require_group(unit, call, group_of(call, request)).tags)}


def groups_of(unit: Unit, call: Call, prefix: str) -> list[tuple[LogGroup, int]]:
    """Return the groups whose names begin with `prefix`, made or written to, by name, with the characters in their lines."""
    sizes = {}
    found = {}
    for name, since, size in store.groups(unit, call.account_id, call.region, prefix):
        sizes[name] = size
        found[name] = LogGroup(
            account_id=call.account_id,
            region=call.region,
            name=name,
            created_at=since,
            retention=store.KEPT_DAYS,
        )
    kept = GROUPS.all(
        unit,
        log_groups.c.account_id == call.account_id,
        log_groups.c.region == call.region,
        log_groups.c.log_group.startswith(prefix, autoescape=True),
    )
    found |= {group.name: group for group in kept}
    return [(found[name], sizes.get(name, 0)) for name in sorted(found)]


def require_group(unit: Unit, call: Call, name: str) -> LogGroup:
    """Return a group that was made or written to. Raises ResourceNotFoundException."""
    found = GROUPS.find(unit, account_id=call.account_id, region=call.region, log_group=name)
    found = found or _implicit(unit, call, name)
    if found is None:
        raise ResourceNotFoundException("The specified log group does not exist.")
    return found


def prune(unit: Unit) -> None:
    """Remove the lines that are older than their group's retention, and what the store removes of all."""
    for group in GROUPS.all(unit):
        if group.retention is not None and group.retention < store.KEPT_DAYS:
            oldest = unit.now - timedelta(days=group.retention)
            unit.connection.execute(
                delete(function_logs).where(
                    function_logs.c.account_id == group.account_id,
                    function_logs.c.region == group.region,
                    function_logs.c.log_group == group.name,
                    function_logs.c.position < micros(oldest) * 1000,
                )
            )
    store.prune(unit)


def group_of(call: Call, request: Request, *, strict: bool = True) -> str:
    """Return the name of the group that a request names, by name or ARN.

    Raises InvalidParameterException where it names none and `strict`, ResourceNotFoundException for another account's.
    """
    if "logGroupName" in request:
        return str(request["logGroupName"])
    identifier = request.get("logGroupIdentifier", request.get("resourceArn", ""))
    found = _GROUP_ARN.fullmatch(identifier)
    if strict and not identifier:
        raise InvalidParameterException("Exactly one of logGroupName and logGroupIdentifier is required.")
    if (
        strict
        and "resourceArn" in request
        and (found is None or identifier.removesuffix(":*") != group_arn(call, found[1]))
    ):
        raise ResourceNotFoundException("The specified log group does not exist.")
    return identifier if found is None else found[1]


def group_subject(call: Call, request: Request, unit: Unit) -> Subject:
    """Return the log group that a call is about."""
    name = group_of(call, request, strict=False)
    arn = f"{group_arn(call, name)}:*"

    def conditions() -> ConditionValues:
        found = GROUPS.find(unit, account_id=call.account_id, region=call.region, log_group=name)
        tags = {} if found is None else found.tags
        given = request.get("tags", {})
        # UntagLogGroup calls the keys that go `tags`.
        gone = given if isinstance(given, list) else request.get("tagKeys", ())
        asked = request_tag_keys({} if isinstance(given, list) else given, gone)
        return {**resource_tag_keys(tags), **asked}

    return Subject(arn=arn, named=arn, conditions=conditions)


def group_arn(call: Call, group: str) -> str:
    """Return the ARN of a log group, without the `:*` that policies name it with."""
    return f"arn:{partition_of(call.region)}:logs:{call.region}:{call.account_id}:log-group:{group}"


def milliseconds(moment: datetime) -> int:
    """Return a moment in milliseconds since 1970."""
    return int(moment.astimezone(UTC).timestamp() * 1000)


def _implicit(unit: Unit, call: Call, name: str) -> LogGroup | None:
    """Return a group that has lines; it may have a row or not."""
    lines = store.lines(unit, call.account_id, call.region, name, limit=1)
    if not lines:
        return None
    return LogGroup(account_id=call.account_id, region=call.region, name=name, created_at=lines[0].at)


def _changed(unit: Unit, call: Call, name: str, **changes: Any) -> Answer:
    before = require_group(unit, call, name)
    GROUPS.delete(unit, before)
    taken = ResourceAlreadyExistsException("The specified log group already exists")
    GROUPS.insert(unit, replace(before, **changes), taken=taken)
    return {}


def _tagged(before: Mapping[str, str], given: Mapping[str, str]) -> Mapping[str, str]:
    TAGS.refuse_reserved(*given)
    return TAGS.merged(before, given)


def _writes(name: str, handler: Any) -> Action:
    return Action(name=name, handler=handler, subject=group_subject, mutates=True)


ACTIONS: Final = (
    _writes("CreateLogGroup", create_log_group),
    _writes("DeleteLogGroup", delete_log_group),
    _writes("DeleteRetentionPolicy", delete_retention_policy),
    _writes("PutRetentionPolicy", put_retention_policy),
    _writes("TagLogGroup", tag),
    _writes("TagResource", tag),
    _writes("UntagLogGroup", untag),
    _writes("UntagResource", untag),
    Action(name="ListTagsForResource", handler=list_tags, subject=group_subject, mutates=False),
    Action(name="ListTagsLogGroup", handler=list_tags, subject=group_subject, mutates=False),
)
