"""What callers may have written into the trail by calls that need no right."""

from __future__ import annotations

from turnlock.core.arn import AccountId
from turnlock.core.call import Principal, PrincipalKind
from turnlock.trail import WriteBudget
from turnlock.trail.budget import ADDRESS_FACTOR, MOST_KEYS, key_of


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def user(number: int = 0) -> Principal:
    return Principal(
        kind=PrincipalKind.USER,
        arn=f"arn:aws:iam::123456789012:user/u{number}",
        account_id=AccountId("123456789012"),
        principal_id=f"AIDA{number}",
    )


def session(name: str) -> Principal:
    return Principal(
        kind=PrincipalKind.ASSUMED_ROLE,
        arn=f"arn:aws:sts::123456789012:assumed-role/r/{name}",
        account_id=AccountId("123456789012"),
        principal_id=f"AROA1:{name}",
    )


def test_a_principal_has_written_what_its_budget_holds_and_then_what_comes_back_with_time() -> None:
    clock = Clock()
    budget = WriteBudget(1000, 100, clock)
    assert [budget.spend(user(), "a", 400) for _ in range(3)] == [True, True, False]
    assert budget.spend(user(), "a", 200)
    clock.now += 3
    assert not budget.spend(user(), "a", 301)
    assert budget.spend(user(), "a", 300)


def test_one_principal_costs_another_nothing_but_at_an_address_that_has_spent_its_own() -> None:
    budget = WriteBudget(1000, 0, Clock())
    for number in range(ADDRESS_FACTOR):
        assert budget.spend(user(number), "a", 1000)
        assert not budget.spend(user(number), "b", 1)
    assert not budget.spend(user(99), "a", 1)
    assert budget.spend(user(99), "b", 1)


def test_all_sessions_of_a_role_are_charged_as_one() -> None:
    budget = WriteBudget(1000, 0, Clock())
    assert budget.spend(session("a"), "a", 1000)
    assert not budget.spend(session("b"), "a", 1)


def test_a_web_identity_is_charged_by_its_subject() -> None:
    arn = "arn:aws:iam::123456789012:oidc-provider/issuer.example"
    web = Principal(
        kind=PrincipalKind.WEB_IDENTITY,
        arn=arn,
        account_id=AccountId("123456789012"),
        principal_id=f"{arn}:audience:ann",
    )
    assert key_of(web) == web.principal_id


def test_no_more_principals_and_addresses_are_kept_than_are_counted() -> None:
    budget = WriteBudget(1000, 0, Clock())
    for number in range(MOST_KEYS + 100):
        budget.spend(user(number), f"address {number}", 1)
    assert len(budget._principals._accounts) == len(budget._addresses._accounts) == MOST_KEYS
