"""From an identifier to the resource: for the gate, which must not fail on what is absent, and for the actions, which must."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from turnlock.core.action import ConditionValues, Request, Subject
from turnlock.core.call import Call
from turnlock.core.tags import TagRules, request_tag_keys, resource_tag_keys
from turnlock.errors import (
    ApiError,
    DBClusterNotFoundFault,
    DBInstanceNotFoundFault,
    InvalidParameterValue,
    SealBroken,
)
from turnlock.rds.model import MOST_TAGS, DbResource, Kind, rds_arn, read_arn, read_identifier
from turnlock.rds.store import find, tags_of
from turnlock.storage import Unit

SubjectFinder = Callable[[Call, Request, Unit], Subject]

_MEMBERS = {Kind.INSTANCE: "DBInstanceIdentifier", Kind.CLUSTER: "DBClusterIdentifier"}
_TAG_KEYS = {Kind.INSTANCE: "rds:db-tag/", Kind.CLUSTER: "rds:cluster-tag/"}
"""Where policies look for a resource's tags, beside aws:ResourceTag (Service Authorization Reference, "Amazon RDS")."""


def subject_of(kind: Kind) -> SubjectFinder:
    """Return what finds the subject of calls about one resource, or about all of a kind where they name none."""

    def subject(call: Call, request: Request, unit: Unit) -> Subject:
        return _subject(call, request, unit, kind, request.get(_MEMBERS[kind], "*"))

    return subject


def tagged_subject(call: Call, request: Request, unit: Unit) -> Subject:
    """Return what a tagging call's ResourceName is about."""
    named = request["ResourceName"]
    try:
        kind, identifier = read_arn(named, call.account_id, call.region)
    except ApiError:
        return Subject(arn=None, named=named)
    return _subject(call, request, unit, kind, identifier)


def find_named(call: Call, unit: Unit, kind: Kind, text: str) -> DbResource | None:
    """Return the resource that an identifier or ARN names in the caller's account and Region, or None."""
    identifier = read_identifier(text, kind, call.account_id, call.region)
    return None if identifier is None else find(unit, call.account_id, call.region, kind, identifier)


def require_instance(call: Call, unit: Unit, text: str) -> DbResource:
    """Return the DB instance of this identifier or ARN. Raises DBInstanceNotFoundFault."""
    instance = find_named(call, unit, Kind.INSTANCE, text)
    if instance is None:
        raise DBInstanceNotFoundFault(f"DBInstance {text} not found.")
    return instance


def require_cluster(call: Call, unit: Unit, text: str) -> DbResource:
    """Return the DB cluster of this identifier or ARN. Raises DBClusterNotFoundFault."""
    cluster = find_named(call, unit, Kind.CLUSTER, text)
    if cluster is None:
        raise DBClusterNotFoundFault(f"DBCluster {text} not found.")
    return cluster


def _check_tag(key: str, value: str) -> None:
    if not 1 <= len(key) <= 128 or len(value) > 256 or "\0" in key + value:
        raise InvalidParameterValue("A tag has a Key of 1 to 128 characters and a Value of up to 256.")


TAGS: Final = TagRules(
    most=MOST_TAGS,
    too_many=lambda: InvalidParameterValue(f"A resource can have at most {MOST_TAGS} tags."),
    reserved=("aws:", "rds:"),
    is_reserved=lambda: InvalidParameterValue("Tag keys that start with aws: or rds: are reserved."),
    check=_check_tag,
)
"""The tags of instances and clusters; of several tags with one key the last counts."""


def _subject(call: Call, request: Request, unit: Unit, kind: Kind, named: str) -> Subject:
    identifier = read_identifier(named, kind, call.account_id, call.region)
    if identifier is None:
        return Subject(arn=None, named=named)
    arn = rds_arn(call.account_id, call.region, kind, identifier)
    return Subject(arn=arn, named=arn, conditions=partial(_conditions, call, request, unit, kind, identifier))


def _conditions(call: Call, request: Request, unit: Unit, kind: Kind, identifier: str) -> ConditionValues:
    """Return the condition keys of a call: what the resource is, and what the request would make of it."""
    values: dict[str, Sequence[str]] = {}
    try:
        resource = find(unit, call.account_id, call.region, kind, identifier)
    except SealBroken:  # logged; the handler meets it again
        resource = None
    if resource is not None:
        values["rds:databaseengine"] = [resource.engine]
        tags = tags_of(unit, [resource]).get(identifier, {})
        values |= resource_tag_keys(tags, _TAG_KEYS[kind])
    values |= request_tag_keys(TAGS.pairs(request), request.get("TagKeys", ()), "rds:req-tag/")
    for member, key in _REQUESTED.items():
        if member in request:
            values[key] = [_spelled(request[member])]
    return values


_REQUESTED = {
    "DBInstanceClass": "rds:databaseclass",
    "Engine": "rds:databaseengine",
    "DBName": "rds:databasename",
    "DatabaseName": "rds:databasename",
    "ManageMasterUserPassword": "rds:managemasteruserpassword",
}
"""Members that policies may look at, and the key where they stand."""


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
