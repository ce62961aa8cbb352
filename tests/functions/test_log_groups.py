"""Log groups that tools make beside functions: with a retention and tags, and deleted with their lines."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.calling import ACCOUNT, REGION, Client, refusal
from tests.support import SettableClock, StorePlace
from turnlock import accounts
from turnlock.core.call import Principal, PrincipalKind
from turnlock.errors import AccessDeniedException
from turnlock.functions import LOGS_ACTIONS
from turnlock.functions.logs import groups, store
from turnlock.functions.model import LogBatch
from turnlock.shell.admission import Service

GROUP = "/aws/lambda/echo"
ARN = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{GROUP}"


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def logs(store_place: StorePlace, clock: SettableClock) -> Client:
    database = store_place.open(clock=clock)
    database.write(lambda unit: accounts.create_account(unit, ACCOUNT))
    return Client(database=database, clock=clock, service=Service.of("logs", LOGS_ACTIONS))


def write(logs: Client, message: str = "line", group: str = GROUP) -> None:
    batch = LogBatch(
        account_id=ACCOUNT,
        region=REGION,
        group=group,
        stream="s",
        at=logs.clock.now(),
        messages=(message,),
    )
    logs.database.write(lambda unit: store.append(unit, [batch]))


def described(logs: Client) -> dict[str, dict[str, Any]]:
    return {one["logGroupName"]: one for one in logs("DescribeLogGroups")["logGroups"]}


def test_a_group_is_there_before_anything_is_written(logs: Client) -> None:
    missing = ("ResourceNotFoundException", "The specified log group does not exist.")
    assert refusal(lambda: logs("DescribeLogStreams", logGroupName=GROUP)) == missing
    logs("CreateLogGroup", logGroupName=GROUP, tags={"a": "1"})
    assert refusal(lambda: logs("CreateLogGroup", logGroupName=GROUP)) == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    group = described(logs)[GROUP]
    assert (group["arn"], group["storedBytes"], group.get("retentionInDays")) == (f"{ARN}:*", 0, None)
    assert logs("DescribeLogStreams", logGroupName=GROUP)["logStreams"] == []
    assert logs("FilterLogEvents", logGroupName=GROUP)["events"] == []
    write(logs)
    assert [one["message"] for one in logs("FilterLogEvents", logGroupName=GROUP)["events"]] == ["line"]
    logs("DeleteLogGroup", logGroupName=GROUP)
    assert described(logs) == {}
    assert refusal(lambda: logs("FilterLogEvents", logGroupName=GROUP)) == missing
    assert refusal(lambda: logs("DeleteLogGroup", logGroupName=GROUP)) == missing


def test_a_group_that_a_function_wrote_to_need_not_be_made(logs: Client) -> None:
    write(logs)
    assert refusal(lambda: logs("CreateLogGroup", logGroupName=GROUP))[0] == "ResourceAlreadyExistsException"
    logs("TagResource", resourceArn=ARN, tags={"a": "1"})
    assert logs("ListTagsForResource", resourceArn=ARN)["tags"] == {"a": "1"}
    logs("DeleteLogGroup", logGroupName=GROUP)
    assert described(logs) == {}


def test_a_shorter_retention_holds(logs: Client, clock: SettableClock) -> None:
    logs("CreateLogGroup", logGroupName=GROUP)
    logs("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=1)
    assert described(logs)[GROUP]["retentionInDays"] == 1
    write(logs, "old")
    write(logs, "old", "/aws/lambda/other")
    clock.advance(timedelta(days=2))
    write(logs, "new")
    logs.database.write(groups.prune)
    kept = {name: logs("FilterLogEvents", logGroupName=name)["events"] for name in described(logs)}
    assert {name: [one["message"] for one in found] for name, found in kept.items()} == {
        GROUP: ["new"],
        "/aws/lambda/other": ["old"],
    }
    logs("DeleteRetentionPolicy", logGroupName=GROUP)
    assert "retentionInDays" not in {k: v for k, v in described(logs)[GROUP].items() if v is not None}
    assert refusal(lambda: logs("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=2))[0] == (
        "InvalidParameterException"
    )


@pytest.mark.parametrize("old", [False, True])
def test_tags_are_added_listed_and_removed(logs: Client, old: bool) -> None:
    logs("CreateLogGroup", logGroupName=GROUP, tags={"a": "1"})
    if old:
        logs("TagLogGroup", logGroupName=GROUP, tags={"b": "2"})
        logs("UntagLogGroup", logGroupName=GROUP, tags=["a", "absent"])
        assert logs("ListTagsLogGroup", logGroupName=GROUP)["tags"] == {"b": "2"}
    else:
        logs("TagResource", resourceArn=ARN, tags={"b": "2"})
        logs("UntagResource", resourceArn=ARN, tagKeys=["a", "absent"])
        assert logs("ListTagsForResource", resourceArn=ARN)["tags"] == {"b": "2"}


@pytest.mark.parametrize(
    "arn", [ARN.replace(ACCOUNT, "999999999999"), ARN.replace(REGION, "us-east-1"), ARN + "x", "nothing"]
)
def test_another_accounts_group_is_not_there(logs: Client, arn: str) -> None:
    logs("CreateLogGroup", logGroupName=GROUP)
    assert refusal(lambda: logs("TagResource", resourceArn=arn, tags={"b": "2"}))[0] == (
        "ResourceNotFoundException"
    )


def test_a_user_without_rights_makes_none(logs: Client) -> None:
    user = Principal(
        kind=PrincipalKind.USER,
        arn=f"arn:aws:iam::{ACCOUNT}:user/x",
        account_id=ACCOUNT,
        principal_id="AIDAEXAMPLE",
    )
    with pytest.raises(AccessDeniedException):
        logs.elsewhere(principal=user)("CreateLogGroup", logGroupName=GROUP)


def test_a_read_looks_at_a_thousand_lines_at_most_and_the_next_one_goes_on(logs: Client) -> None:
    for number in range(3):
        logs.clock.advance(timedelta(seconds=1))
        batch = LogBatch(
            account_id=ACCOUNT,
            region=REGION,
            group=GROUP,
            stream="s",
            at=logs.clock.now(),
            messages=tuple(f"{number} {line}" for line in range(800)),
        )
        logs.database.write(partial(store.append, batches=[batch]))
    expected = [f"{number} {line}" for number in range(3) for line in range(800)]
    found, pages, token = list[str](), list[int](), dict[str, str]()
    while True:
        answer = logs("FilterLogEvents", logGroupName=GROUP, **token)
        pages.append(len(answer["events"]))
        found += [one["message"] for one in answer["events"]]
        if "nextToken" not in answer:
            break
        token = {"nextToken": answer["nextToken"]}
    assert (found, pages) == (expected, [1_000, 1_000, 400])
    stream = {"logGroupName": GROUP, "logStreamName": "s", "startFromHead": True, "limit": 10_000}
    first = logs("GetLogEvents", **stream)
    second = logs("GetLogEvents", **stream, nextToken=first["nextForwardToken"])
    both = [one["message"] for answer in (first, second) for one in answer["events"]]
    assert both == expected[:2_000]
