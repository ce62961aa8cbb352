"""Changes of one identity at the same time, from two nodes: none is lost, and no limit is passed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from tests.iam.calling import ACCOUNT, READ, Caller
from tests.support import StorePlace
from turnlock.accounts.entities.aws_managed import AWS_MANAGED
from turnlock.accounts.entities.holdings import holdings_of
from turnlock.core.call import Principal
from turnlock.errors import ApiError, LimitExceededException

AT_ONCE = 5


@pytest.fixture
def nodes(iam: Caller, store_place: StorePlace) -> list[Caller]:
    """The root user on two nodes of one store."""
    return [iam, iam.elsewhere(database=store_place.open())]


def together(nodes: list[Caller], act: Callable[[Caller, int], Any]) -> list[Any]:
    """Run `act` AT_ONCE times at once, on the nodes in turn; return what each gives or raises."""
    barrier = Barrier(AT_ONCE)

    def one(number: int) -> Any:
        barrier.wait(20)
        try:
            return act(nodes[number % len(nodes)], number)
        except ApiError as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(AT_ONCE), timeout=60))


def test_policies_that_are_attached_at_once_are_all_there(iam: Caller, nodes: list[Caller]) -> None:
    arns = list(AWS_MANAGED)[:AT_ONCE]
    user = iam("CreateUser", UserName="ann")["User"]
    results = together(
        nodes, lambda node, number: node("AttachUserPolicy", UserName="ann", PolicyArn=arns[number])
    )
    assert results == [{}] * AT_ONCE
    attached = iam("ListAttachedUserPolicies", UserName="ann")["AttachedPolicies"]
    assert {one["PolicyArn"] for one in attached} == set(arns)
    principal = Principal(
        kind=iam.principal.kind, arn=user["Arn"], account_id=ACCOUNT, principal_id=user["UserId"]
    )
    held = nodes[1].database.read(lambda unit: holdings_of(unit, principal))
    assert {one.name for one in held.policies} == set(arns)


def test_no_more_keys_are_made_at_once_than_a_user_can_have(iam: Caller, nodes: list[Caller]) -> None:
    iam("CreateUser", UserName="ann")
    results = together(nodes, lambda node, _number: node("CreateAccessKey", UserName="ann"))
    refused = [one for one in results if isinstance(one, LimitExceededException)]
    assert len(refused) == AT_ONCE - 2
    assert len(iam("ListAccessKeys", UserName="ann")["AccessKeyMetadata"]) == 2


def test_a_name_is_taken_once(iam: Caller, nodes: list[Caller]) -> None:
    results = together(
        nodes, lambda node, number: node("CreateUser", UserName="ANN"[:number] + "ann"[number:])
    )
    made = [one for one in results if isinstance(one, dict)]
    assert len(made) == 1
    assert [user["UserName"] for user in iam("ListUsers")["Users"]] == [made[0]["User"]["UserName"]]


def test_a_policy_that_is_deleted_while_it_is_attached_is_not_both(iam: Caller, nodes: list[Caller]) -> None:
    """Whichever comes first wins: what speaks for the user is never a policy that is gone."""
    user = iam("CreateUser", UserName="ann")["User"]
    arn = iam("CreatePolicy", PolicyName="p", PolicyDocument=READ)["Policy"]["Arn"]
    acts: list[Callable[[Caller], Any]] = [
        lambda node: node("AttachUserPolicy", UserName="ann", PolicyArn=arn),
        lambda node: node("DeletePolicy", PolicyArn=arn),
    ]
    together(nodes, lambda node, number: acts[number % 2](node))
    principal = Principal(
        kind=iam.principal.kind, arn=user["Arn"], account_id=ACCOUNT, principal_id=user["UserId"]
    )
    held = iam.database.read(lambda unit: holdings_of(unit, principal))
    there = iam("ListPolicies", Scope="Local")["Policies"]
    assert [one.name for one in held.policies] == [one["Arn"] for one in there]
