"""DescribeDBInstances and DescribeDBClusters: filters, pages, and one resource by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from turnlock.core.action import Answer, Request
from turnlock.core.call import Call
from turnlock.core.pages import Question
from turnlock.errors import GlobalClusterNotFoundFault, InvalidParameterValue
from turnlock.rds.answers import cluster_answer, instance_answer
from turnlock.rds.lookup import require_cluster, require_instance
from turnlock.rds.model import DbResource, Kind, read_identifier
from turnlock.rds.store import page, related, tags_of
from turnlock.storage import Unit

LEAST_RECORDS: Final = 20
MOST_RECORDS: Final = 100
"""Bounds of MaxRecords, and its default (API reference, DescribeDBInstances)."""

Show = Callable[[DbResource, Mapping[str, str], Sequence[DbResource]], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """What is particular to describing one kind of resource."""

    kind: Kind
    member: str
    """Where the request names one resource."""
    result: str
    require: Callable[[Call, Unit, str], DbResource]
    show: Show
    filters: Mapping[str, str]
    """By a filter's name: the column that it looks at."""


_INSTANCES: Final = _Listing(
    kind=Kind.INSTANCE,
    member="DBInstanceIdentifier",
    result="DBInstances",
    require=require_instance,
    show=instance_answer,
    filters={
        "db-cluster-id": "cluster_id",
        "db-instance-id": "identifier",
        "dbi-resource-id": "resource_id",
        "engine": "engine",
    },
)
_CLUSTERS: Final = _Listing(
    kind=Kind.CLUSTER,
    member="DBClusterIdentifier",
    result="DBClusters",
    require=require_cluster,
    show=cluster_answer,
    filters={
        "db-cluster-id": "identifier",
        "db-cluster-resource-id": "resource_id",
        "engine": "engine",
    },
)
_NAMED_KINDS: Final = {"db-cluster-id": Kind.CLUSTER, "db-instance-id": Kind.INSTANCE}
"""Filters whose values may be ARNs as well."""


def describe_db_instances(call: Call, request: Request, unit: Unit) -> Answer:
    """DescribeDBInstances: one by its identifier or ARN, or those that fit the filters, by pages."""
    return _describe(_INSTANCES, call, request, unit)


def describe_db_clusters(call: Call, request: Request, unit: Unit) -> Answer:
    """DescribeDBClusters: one by its identifier or ARN, or those that fit the filters, by pages."""
    return _describe(_CLUSTERS, call, request, unit)


def describe_global_clusters(_call: Call, request: Request, _unit: Unit) -> Answer:
    """DescribeGlobalClusters: none, for clusters here are in one Region. Raises GlobalClusterNotFoundFault for one by its name."""
    if "GlobalClusterIdentifier" in request:
        raise GlobalClusterNotFoundFault(f"Global cluster {request['GlobalClusterIdentifier']} not found.")
    return {"GlobalClusters": []}


def described(unit: Unit, resource: DbResource) -> dict[str, Any]:
    """Return one resource as its Describe call shows it: the answer of the calls that change it."""
    listing = _INSTANCES if resource.kind is Kind.INSTANCE else _CLUSTERS
    return _shown(listing, unit, [resource])[0]


def _describe(listing: _Listing, call: Call, request: Request, unit: Unit) -> Answer:
    limit = _limit(request)
    wanted = _wanted(listing, call, request)
    if listing.member in request:
        found = [listing.require(call, unit, request[listing.member])]
        fitting = [one for one in found if all(getattr(one, name) in wanted[name] for name in wanted)]
        return {listing.result: _shown(listing, unit, fitting)}
    question = Question.of(unit.keyring, call, {"wanted": wanted}, invalid=_invalid_marker)
    resources = page(
        unit,
        call.account_id,
        call.region,
        listing.kind,
        wanted=wanted,
        after=question.position(request.get("Marker") or None, str) or "",
        limit=limit + 1,
    )
    shown = resources[:limit]
    more = len(resources) > limit
    return {
        listing.result: _shown(listing, unit, shown),
        "Marker": question.token(shown[-1].identifier if more else None),
    }


def _shown(listing: _Listing, unit: Unit, resources: Sequence[DbResource]) -> list[dict[str, Any]]:
    if not resources:
        return []
    first = resources[0]
    tags = tags_of(unit, resources)
    beside = related(unit, first.account_id, first.region, [one.identifier for one in resources])
    return [listing.show(one, tags.get(one.identifier, {}), beside) for one in resources]


def _limit(request: Request) -> int:
    limit = int(request.get("MaxRecords", MOST_RECORDS))
    if not LEAST_RECORDS <= limit <= MOST_RECORDS:
        raise InvalidParameterValue(
            f"Invalid value {limit} for MaxRecords. Must be between {LEAST_RECORDS} and {MOST_RECORDS}"
        )
    return limit


def _wanted(listing: _Listing, call: Call, request: Request) -> dict[str, list[str]]:
    """Return the filters as columns with the values that they allow; two filters on one column must both hold."""
    wanted: dict[str, list[str]] = {}
    for given in request.get("Filters", ()):
        name, values = given["Name"], given["Values"]
        column = listing.filters.get(name)
        if column is None:
            raise InvalidParameterValue(f"Unrecognized filter name: {name}")
        if name in _NAMED_KINDS:
            read = (
                read_identifier(text, _NAMED_KINDS[name], call.account_id, call.region) for text in values
            )
            values = [identifier for identifier in read if identifier is not None]
        wanted[column] = [value for value in values if value in wanted.get(column, values)]
    return wanted


def _invalid_marker() -> InvalidParameterValue:
    return InvalidParameterValue("The request cannot be processed because the Marker is invalid.")
