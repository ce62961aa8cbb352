"""Nested calls: what an action does for its caller through other actions passes the same gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from tests.calling import ACCOUNT, REGION, Client, token
from tests.support import SettableClock, StorePlace
from turnlock import accounts, sts
from turnlock.core.action import Action, Answer, Request, no_resource
from turnlock.core.call import Call, Fence, Principal, PrincipalKind, Session
from turnlock.errors import (
    AccessDeniedException,
    ApiError,
    ExpiredTokenException,
    InternalServiceError,
    InvalidRequestException,
    StoreError,
)
from turnlock.shell.admission import Service
from turnlock.shell.gate import Passage
from turnlock.storage import Database, Unit, leases
from turnlock.trail import TrailTable


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def database(store_place: StorePlace, clock: SettableClock) -> Database:
    chains = count(1)
    return store_place.open(clock=clock, sink=lambda: TrailTable(f"w{next(chains)}"))


@pytest.fixture
def client(database: Database, clock: SettableClock) -> Client:
    """Root, with one secret; nothing recorded yet."""
    root = Client(database=database, clock=clock)
    root("CreateSecret", Name="db", SecretString="v", ClientRequestToken=token())
    root.records.clear()
    return root


@dataclass
class Outer:
    """An action of the tests' own that makes nested calls, under the name of one that the model knows."""

    work: Callable[[Call, Unit], Any]
    mutates: bool = False
    outcomes: list[Any] = field(default_factory=list)

    def run(self, client: Client) -> Answer | ApiError:
        name = "PutSecretValue" if self.mutates else "BatchGetSecretValue"
        action = Action(name=name, handler=self._handle, subject=no_resource, mutates=self.mutates)
        operation = client.service.contract.operations[name]
        return client.through(
            Passage(action=action, operation=operation, beside=self._beside(client)), {"SecretId": "outer"}
        )

    @staticmethod
    def _beside(client: Client) -> dict[str, Passage]:
        return {f"secretsmanager:{name}": passage for name, passage in client.service.passages.items()} | {
            f"sts:{name}": passage for name, passage in Service.of("sts", sts.STS_ACTIONS).passages.items()
        }

    def _handle(self, call: Call, _request: Request, unit: Unit) -> Answer:
        self.outcomes.append(self.work(call, unit))
        return {}


def get(secret_id: str) -> Callable[[Call, Unit], Answer | ApiError]:
    return lambda call, _unit: call.gate.nested("GetSecretValue", {"SecretId": secret_id})


def names(client: Client) -> list[tuple[str, str | None]]:
    return [(record["eventName"], record.get("errorCode")) for record in client.records]


def session_for(*actions: str) -> Session:
    """Return a session that may do these actions on `*` and nothing else."""
    allowed = ",".join(f'"secretsmanager:{action}"' for action in actions)
    policy = (
        f'{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":[{allowed}],"Resource":"*"}}]}}'
    )
    return Session(access_key_id="ASIAEXAMPLE", policy=policy, hosted=True)


def role() -> Principal:
    return structs.replace(
        accounts.root_principal(ACCOUNT),
        kind=PrincipalKind.ASSUMED_ROLE,
        arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s",
    )


def test_a_nested_call_answers_and_leaves_its_own_record_before_the_outer_one(client: Client) -> None:
    outer = Outer(get("db"))
    assert outer.run(client) == {}
    (answer,) = outer.outcomes
    assert answer["SecretString"] == "v"
    assert names(client) == [("GetSecretValue", None), ("BatchGetSecretValue", None)]
    first, second = client.records
    assert first["requestID"] == second["requestID"]
    assert first["eventID"] != second["eventID"]
    assert first["requestParameters"] == {"secretId": "db"}


def test_a_nested_call_is_authorised_by_itself(client: Client) -> None:
    client = client.elsewhere(principal=role(), session=session_for("PutSecretValue", "BatchGetSecretValue"))
    outer = Outer(get("db"))
    assert outer.run(client) == {}
    (denied,) = outer.outcomes
    assert isinstance(denied, AccessDeniedException)
    assert "secretsmanager:GetSecretValue" in denied.message
    assert names(client) == [("GetSecretValue", "AccessDeniedException"), ("BatchGetSecretValue", None)]


def test_a_nested_call_under_a_lost_lease_is_refused(client: Client) -> None:
    """The fence is asked again by each call; here the lease goes over between the two."""

    def take(unit: Unit, holder: str) -> Fence | None:
        return leases.claim(unit, ACCOUNT, REGION, "l", holder=holder, seconds=60)

    fence = client.database.write(lambda unit: take(unit, "a"))
    assert isinstance(fence, Fence)

    def lose_and_get(call: Call, unit: Unit) -> Answer | ApiError:
        leases.release(unit, fence)
        assert take(unit, "b") is not None
        return get("db")(call, unit)

    outer = Outer(lose_and_get, mutates=True)
    fenced = client.elsewhere(session=structs.replace(client.session, fence=fence))
    assert outer.run(fenced) == {}
    assert isinstance(outer.outcomes[0], ExpiredTokenException)


def test_an_error_of_a_nested_call_is_an_outcome_and_not_raised(client: Client) -> None:
    outer = Outer(lambda call, unit: [get(name)(call, unit) for name in ("absent", "db")])
    outer.run(client)
    absent, found = outer.outcomes[0]
    assert (absent.code, found["Name"]) == ("ResourceNotFoundException", "db")


def test_a_nested_call_that_breaks_is_opaque(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(_call: Call, _request: Request, _unit: Unit) -> Answer:
        raise ValueError("inner details")

    broken = replace(client.service.passages["GetSecretValue"].action, handler=explode)
    passage = replace(client.service.passages["GetSecretValue"], action=broken)
    monkeypatch.setitem(client.service.passages, "GetSecretValue", passage)
    outer = Outer(get("db"))
    with capture_logs():
        outer.run(client)
    assert isinstance(outer.outcomes[0], InternalServiceError)
    assert "inner details" not in str(client.records)


@pytest.mark.parametrize("fails", [False, True])
def test_nested_changes_stand_or_fall_with_the_outer_call(client: Client, fails: bool) -> None:
    def work(call: Call, _unit: Unit) -> None:
        tag = call.gate.nested("TagResource", {"SecretId": "db", "Tags": [{"Key": "k", "Value": "v"}]})
        assert tag == {}
        if fails:
            raise InvalidRequestException

    outer = Outer(work, mutates=True)
    assert isinstance(outer.run(client), InvalidRequestException) == fails
    assert ("Tags" in client("DescribeSecret", SecretId="db")) == (not fails)
    made = [("TagResource", None)] if not fails else []
    code = "InvalidRequestException" if fails else None
    assert names(client)[: len(made) + 1] == [*made, ("PutSecretValue", code)]


def test_a_nested_change_inside_a_read_is_never_carried_out(client: Client) -> None:
    outer = Outer(lambda call, _unit: call.gate.nested("TagResource", {"SecretId": "db", "Tags": []}))
    with pytest.raises(StoreError, match="cannot write"):
        outer.run(client)


def test_a_call_of_another_service_is_the_callers_and_says_who_makes_it(client: Client) -> None:
    """docs/aws-behaviour.md#kms-keys-of-secrets: identity, address and agent of a call that a service makes for its caller."""
    outer = Outer(lambda call, _unit: call.gate.nested("sts:GetCallerIdentity", {}))
    outer.run(client)
    (answer,) = outer.outcomes
    assert answer["Arn"] == client.principal.arn
    inner, own = client.records
    assert (inner["eventSource"], inner["eventName"]) == ("sts.amazonaws.com", "GetCallerIdentity")
    through = "secretsmanager.amazonaws.com"
    assert (inner["userIdentity"]["invokedBy"], inner["sourceIPAddress"], inner["userAgent"]) == (
        through,
    ) * 3
    assert inner["userIdentity"]["arn"] == own["userIdentity"]["arn"]
    assert "invokedBy" not in own["userIdentity"]
    assert own["sourceIPAddress"] == "192.0.2.7"


def test_a_full_name_of_the_same_service_is_an_ordinary_nested_call(client: Client) -> None:
    outer = Outer(lambda call, _unit: call.gate.nested("secretsmanager:GetSecretValue", {"SecretId": "db"}))
    outer.run(client)
    assert "invokedBy" not in client.records[0]["userIdentity"]


def require(operation: str) -> Callable[[Call, Unit], Any]:
    return lambda call, _unit: call.gate.require(operation, {"SecretId": "db"})


def test_a_further_right_is_asked_of_the_same_caller_and_leaves_no_record(client: Client) -> None:
    assert Outer(require("PutResourcePolicy")).run(client) == {}
    assert names(client) == [("BatchGetSecretValue", None)]


def test_a_further_right_that_is_missing_is_the_outer_calls_denial(client: Client) -> None:
    half = client.elsewhere(principal=role(), session=session_for("BatchGetSecretValue"))
    denied = Outer(require("PutResourcePolicy")).run(half)
    assert isinstance(denied, AccessDeniedException)
    assert "secretsmanager:PutResourcePolicy on resource: db" in denied.message
    assert names(half) == [("BatchGetSecretValue", "AccessDeniedException")]


def test_without_the_gate_nothing_can_be_nested_and_no_right_asked(client: Client) -> None:
    def work(unit: Unit) -> None:
        for ask in (get("db"), require("PutResourcePolicy")):
            with pytest.raises(StoreError):
                ask(client.call("GetSecretValue"), unit)

    client.database.read(work)
