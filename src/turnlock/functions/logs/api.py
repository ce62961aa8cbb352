"""What was written, as it is read: DescribeLogGroups, DescribeLogStreams, GetLogEvents, FilterLogEvents."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement

from turnlock.core.action import Action, Answer, Request, Subject
from turnlock.core.call import Call
from turnlock.core.pages import Pages
from turnlock.errors import InvalidParameterException, ResourceNotFoundException
from turnlock.functions.logs import groups, store
from turnlock.functions.logs.groups import (
    LogGroup,
    group_arn,
    group_of,
    group_subject,
    groups_of,
    milliseconds,
    require_group,
)
from turnlock.functions.logs.patterns import matcher
from turnlock.functions.logs.store import Line, function_logs
from turnlock.storage import Unit

PAGES: Final = Pages(
    position="nextToken",
    size="limit",
    following="nextToken",
    default=50,
    most=50,
    invalid=lambda: InvalidParameterException("The specified nextToken is invalid."),
)
"""The pages of groups and streams; a token for events is a position too."""
SCANNED: Final = 1_000
"""Lines that one request looks at, a tenth of AWS's most: reads hold the event loop, 50 ms at most (docs/decisions/0030).

There may be more where FilterLogEvents returns a token, also with no event (API reference), or GetLogEvents another one."""


def describe_log_groups(call: Call, request: Request, unit: Unit) -> Answer:
    """DescribeLogGroups: the groups that were made, and those of functions that wrote something."""
    prefix, pattern = request.get("logGroupNamePrefix", ""), request.get("logGroupNamePattern", "")
    found = [one for one in groups_of(unit, call, prefix) if pattern.lower() in one[0].name.lower()]

    def shown(one: tuple[LogGroup, int]) -> dict[str, Any]:
        group, characters = one
        return {
            "logGroupName": group.name,
            "creationTime": milliseconds(group.created_at),
            "retentionInDays": group.retention,
            "metricFilterCount": 0,
            "arn": f"{group_arn(call, group.name)}:*",
            "logGroupArn": group_arn(call, group.name),
            "storedBytes": characters,
            "logGroupClass": group.log_class,
        }

    return PAGES.numbered(request, found, "logGroups", shown)


def describe_log_streams(call: Call, request: Request, unit: Unit) -> Answer:
    """DescribeLogStreams: one stream for each process that served the function."""
    group = require_group(unit, call, group_of(call, request)).name
    found = store.streams(unit, call.account_id, call.region, group)
    prefix = request.get("logStreamNamePrefix", "")
    found = [one for one in found if one[0].startswith(prefix)]
    if request.get("orderBy") == "LastEventTime":
        found.sort(key=lambda one: one[2])
    if request.get("descending"):
        found.reverse()

    def shown(one: tuple[str, datetime, datetime]) -> dict[str, Any]:
        name, first, last = one
        return {
            "logStreamName": name,
            "creationTime": milliseconds(first),
            "firstEventTimestamp": milliseconds(first),
            "lastEventTimestamp": milliseconds(last),
            "lastIngestionTime": milliseconds(last),
            "arn": f"{group_arn(call, group)}:log-stream:{name}",
            "storedBytes": 0,
        }

    return PAGES.numbered(request, found, "logStreams", shown)


def get_log_events(call: Call, request: Request, unit: Unit) -> Answer:
    """GetLogEvents: the lines of one stream, the newest where nothing else is said. A token is `f/` or `b/` and a position."""
    group, limit = group_of(call, request), min(request.get("limit", SCANNED), SCANNED)
    where = [function_logs.c.stream == request["logStreamName"], *_span(request)]
    known = store.lines(unit, call.account_id, call.region, group, where=where[:1], limit=1)
    if not known:
        raise ResourceNotFoundException("The specified log stream does not exist.")
    token = request.get("nextToken", "")
    direction, position = token[:2], PAGES.number(token[2:]) if token else None
    if direction not in ("", "f/", "b/"):
        raise PAGES.invalid()
    found = store.lines(
        unit,
        call.account_id,
        call.region,
        group,
        where=where,
        after=position if direction == "f/" else None,
        before=position if direction == "b/" else None,
        limit=limit,
        newest=direction == "b/" or not (direction or request.get("startFromHead", False)),
    )
    first = found[0].position if found else position or known[0].position
    last = found[-1].position if found else position or known[0].position
    return {
        "events": [
            {
                "timestamp": milliseconds(one.at),
                "message": one.message,
                "ingestionTime": milliseconds(one.at),
            }
            for one in found
        ],
        "nextForwardToken": f"f/{last}",
        "nextBackwardToken": f"b/{first}",
    }


def filter_log_events(call: Call, request: Request, unit: Unit) -> Answer:
    """FilterLogEvents: the lines of a group, oldest first, that match; a token is the position of the last one looked at."""
    group, limit = group_of(call, request), request.get("limit", SCANNED)
    matches = matcher(request.get("filterPattern", ""))
    where = _span(request)
    if "logStreamNames" in request:
        where.append(function_logs.c.stream.in_(request["logStreamNames"]))
    if "logStreamNamePrefix" in request:
        where.append(function_logs.c.stream.startswith(request["logStreamNamePrefix"], autoescape=True))
    after = PAGES.number(request["nextToken"]) if "nextToken" in request else None
    looked_at = store.lines(
        unit, call.account_id, call.region, group, where=where, after=after, limit=SCANNED
    )
    if not looked_at:
        require_group(unit, call, group)
    found: list[Line] = []
    end: int | None = None
    for one in looked_at:
        if matches(one.message):
            found.append(one)
        if len(found) == limit and one is not looked_at[-1]:
            end = one.position
            break
    if end is None and len(looked_at) == SCANNED:
        end = looked_at[-1].position
    return {
        "events": [_event(one) for one in found],
        "searchedLogStreams": [],
        "nextToken": None if end is None else str(end),
    }


def every_group(call: Call, _request: Request, _unit: Unit) -> Subject:
    """Return what DescribeLogGroups is about: all groups of the account (Service Authorization Reference)."""
    arn = group_arn(call, "*")
    return Subject(arn=arn, named=arn)


def _event(line: Line) -> dict[str, Any]:
    moment = milliseconds(line.at)
    return {
        "logStreamName": line.stream,
        "timestamp": moment,
        "message": line.message,
        "ingestionTime": moment,
        "eventId": f"{line.position}-{line.stream[-8:]}",
    }


def _span(request: Request) -> list[ColumnElement[bool]]:
    """Return the conditions for startTime (inclusive) and endTime (exclusive), in milliseconds since 1970."""
    where: list[ColumnElement[bool]] = []
    if "startTime" in request:
        where.append(function_logs.c.position >= request["startTime"] * 1_000_000)
    if "endTime" in request:
        where.append(function_logs.c.position < request["endTime"] * 1_000_000)
    return where


ACTIONS = (
    *groups.ACTIONS,
    Action(name="DescribeLogGroups", handler=describe_log_groups, subject=every_group, mutates=False),
    Action(name="DescribeLogStreams", handler=describe_log_streams, subject=group_subject, mutates=False),
    Action(name="FilterLogEvents", handler=filter_log_events, subject=group_subject, mutates=False),
    Action(name="GetLogEvents", handler=get_log_events, subject=group_subject, mutates=False),
)
