"""The gate: who passes, what is recorded of whom, and that nothing gets by it."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, NoReturn

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, select, text
from structlog.testing import capture_logs

from tests.calling import ACCOUNT, REGION, Client, passage_of, refusal, token
from tests.support import SettableClock, StorePlace
from turnlock.accounts import rotation_policy
from turnlock.core.action import Action, Answer, Request, Subject, no_resource, of_request
from turnlock.core.arn import AccountId
from turnlock.core.call import Call, Fence, Principal, PrincipalKind, Session
from turnlock.core.record import TrailEntry
from turnlock.errors import (
    AccessDeniedException,
    ApiError,
    CommitFailed,
    ExpiredTokenException,
    InternalServiceError,
    LimitExceededException,
    SealBroken,
    SerializationException,
    StoreError,
)
from turnlock.secrets.tables import secrets
from turnlock.shell.gate import Passage, pass_through, preparation, record_refusal
from turnlock.storage import Database, Unit, leases
from turnlock.storage.database import Surroundings
from turnlock.trail import TrailTable
from turnlock.trail.store import trail_records

MARKER = "marker-in-an-exception"


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def database(store_place: StorePlace, clock: SettableClock) -> Database:
    chains = count(1)
    return store_place.open(clock=clock, sink=lambda: TrailTable(f"w{next(chains)}"))


@pytest.fixture
def client(database: Database, clock: SettableClock) -> Client:
    return Client(database=database, clock=clock)


def events(database: Database) -> list[str]:
    """Return the names of the records in the store's trail, in order."""
    statement = select(trail_records.c.event_name).order_by(trail_records.c.writer, trail_records.c.sequence)
    return list(database.read(lambda unit: unit.connection.execute(statement).scalars().all()))


def names(database: Database) -> list[str]:
    statement = select(secrets.c.name).order_by(secrets.c.name)
    return list(database.read(lambda unit: unit.connection.execute(statement).scalars().all()))


@dataclass(frozen=True)
class Behaviour:
    """An action of the tests' own, under the name of one that the model knows."""

    handler: Callable[[Call, Request, Unit], Answer]
    subject: Callable[[Call, Request, Unit], Subject] = no_resource
    mutates: bool = True

    def run(self, client: Client, request: Mapping[str, Any] | None = None) -> Answer | ApiError:
        name = "CreateSecret" if self.mutates else "DescribeSecret"
        action = Action(name=name, handler=self.handler, subject=self.subject, mutates=self.mutates)
        default = {"Name": "db"} if self.mutates else {"SecretId": "db"}
        return client.through(passage_of(client.service, action), request or default)


def insert(unit: Unit, name: str) -> None:
    """Write a row that nothing but a rollback takes away."""
    unit.connection.execute(
        secrets.insert().values(
            account_id=ACCOUNT,
            region=REGION,
            name=name,
            suffix="abcdef",
            created_at=unit.now,
            last_changed_at=unit.now,
        )
    )


def test_a_change_and_its_record_are_kept_together(client: Client) -> None:
    client.body("CreateSecret", b'{"Name": "db"}')
    assert names(client.database) == ["db"]
    assert events(client.database) == ["CreateSecret"]
    (record,) = client.records
    assert record["requestParameters"] == {"name": "db"}
    assert record["responseElements"]["name"] == "db"
    assert record["readOnly"] is False


def test_a_read_makes_one_record_without_an_answer(client: Client) -> None:
    client("CreateSecret", Name="db", SecretString="v", ClientRequestToken=token())
    client.records.clear()
    client("GetSecretValue", SecretId="db", VersionStage="AWSCURRENT")
    (record,) = client.records
    assert record["eventName"] == "GetSecretValue"
    assert record["requestParameters"] == {"secretId": "db", "versionStage": "AWSCURRENT"}
    assert record["responseElements"] is None
    assert record["readOnly"] is True


def test_what_was_not_asked_and_not_answered_is_null_in_the_record(client: Client) -> None:
    client("CreateSecret", Name="db")
    client("TagResource", SecretId="db", Tags=[{"Key": "k", "Value": "v"}])
    client("ListSecrets")
    _, tagged, listed = client.records
    assert tagged["responseElements"] is None
    assert listed["requestParameters"] is None


def test_no_record_no_change_and_no_answer(
    store_place: StorePlace, client: Client, clock: SettableClock
) -> None:
    class BrokenTrail:
        def write(
            self, connection: Connection, entries: Sequence[TrailEntry], around: Surroundings
        ) -> Callable[[], None]:
            if entries:
                raise OSError("the trail takes no record")
            return lambda: None

    broken = client.elsewhere(database=store_place.open(clock=clock, sink=BrokenTrail))
    with capture_logs(), pytest.raises((CommitFailed, OSError)):
        broken("CreateSecret", Name="db")
    assert names(client.database) == []


def test_a_failing_action_leaves_nothing_but_its_record(client: Client) -> None:
    def fail(_call: Call, _request: Request, unit: Unit) -> Answer:
        insert(unit, "half")
        unit.after_commit(lambda: pytest.fail("it was never committed"))
        raise LimitExceededException("too many")

    outcome = Behaviour(fail).run(client)
    assert isinstance(outcome, LimitExceededException)
    assert names(client.database) == []
    assert events(client.database) == ["CreateSecret"]
    (record,) = client.records
    assert (record["errorCode"], record["errorMessage"]) == ("LimitExceededException", "too many")
    assert record["requestParameters"] == {"name": "db"}
    assert record["responseElements"] is None


@pytest.mark.parametrize("mutates", [True, False])
@pytest.mark.parametrize(
    "error", [ValueError(MARKER), KeyError(MARKER), InternalServiceError(MARKER), RecursionError()]
)
def test_an_unexpected_error_becomes_an_opaque_fault_and_is_recorded(
    client: Client, error: Exception, mutates: bool
) -> None:
    def fail(_call: Call, _request: Request, unit: Unit) -> Answer:
        if unit.writes:
            insert(unit, "half")
        raise error

    with capture_logs() as logged:
        outcome = Behaviour(fail, mutates=mutates).run(client)
    assert isinstance(outcome, InternalServiceError)
    assert outcome.message == InternalServiceError.__doc__
    (record,) = client.records
    assert record["errorCode"] == "InternalServiceError"
    assert MARKER not in str(client.records)
    assert names(client.database) == []
    (line,) = logged  # its text is there, and nowhere else
    assert (line["action"], line["request_id"]) == ("action_failed", record["requestID"])
    assert line["exc_info"]


@pytest.mark.parametrize(
    ("row", "told"), [(None, "seal_broken"), ("The row", "action_failed")], ids=["untold", "told"]
)
def test_a_broken_seal_that_nobody_has_told_of_is_told_of_here(
    client: Client, row: str | None, told: str
) -> None:
    def fail(_call: Call, _request: Request, _unit: Unit) -> Answer:
        raise SealBroken(row=row)

    with capture_logs() as logged:
        assert isinstance(Behaviour(fail).run(client), InternalServiceError)
    assert [line["action"] for line in logged] == [told]


def test_an_error_of_the_store_keeps_the_whole_unit_from_committing(client: Client) -> None:
    def fail(_call: Call, _request: Request, unit: Unit) -> Answer:
        insert(unit, "half")
        raise StoreError("the store is away")

    def break_the_statement(_call: Call, _request: Request, unit: Unit) -> Answer:
        insert(unit, "half")
        unit.connection.execute(text("SELECT * FROM no_such_table"))
        return {}

    for handler in (fail, break_the_statement):
        with pytest.raises(Exception, match=r"the store is away|no such table|commit failed"):
            Behaviour(handler).run(client)
    assert names(client.database) == []
    assert events(client.database) == []
    assert client.records == []


def rotation_role(policy: str | None, **changes: Any) -> dict[str, Any]:
    """Return what makes a client that of a role's session narrowed to a policy."""
    return {
        "principal": Principal(
            kind=PrincipalKind.ASSUMED_ROLE,
            arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/Rotation/session",
            account_id=ACCOUNT,
            principal_id="AROAEXAMPLE:session",
        ),
        "session": Session(access_key_id="ASIAEXAMPLE", policy=policy, hosted=True, **changes),
    }


def claim(unit: Unit, seconds: float = 1000.0) -> Fence:
    fence = leases.claim(unit, ACCOUNT, REGION, "rotation/db", holder="x", seconds=seconds)
    assert fence is not None
    return fence


def test_temporary_credentials_are_good_while_their_number_is_the_newest_and_no_longer(
    client: Client,
) -> None:
    arn = client("CreateSecret", Name="db", SecretString="v", ClientRequestToken=token())["ARN"]
    fence = client.database.write(partial(claim, seconds=0))
    role = client.elsewhere(**rotation_role(rotation_policy(arn), fence=fence), records=[])
    put = partial(role, "PutSecretValue", SecretId=arn, SecretString="w")
    put(ClientRequestToken=token(1))
    client.database.write(claim)
    expected = ("ExpiredTokenException", ExpiredTokenException.__doc__)
    assert refusal(partial(put, ClientRequestToken=token(2))) == expected
    assert refusal(partial(role, "GetSecretValue", SecretId=arn)) == expected
    assert [record.get("errorCode") for record in role.records] == [None] + ["ExpiredTokenException"] * 2
    assert client("GetSecretValue", SecretId="db")["VersionId"] == token(1)


def test_who_may_not_is_denied_recorded_and_leaves_nothing(client: Client) -> None:
    role = client.elsewhere(**rotation_role(None), records=[])
    with pytest.raises(AccessDeniedException):
        role("CreateSecret", Name="db")
    (record,) = role.records
    assert record["errorCode"] == "AccessDeniedException"
    assert record["userIdentity"]["type"] == "AssumedRole"
    assert names(client.database) == []
    assert events(client.database) == ["CreateSecret"]


@pytest.mark.parametrize("operation", ["GetSecretValue", "DescribeSecret", "DeleteSecret"])
def test_denied_and_absent_sound_the_same_to_who_may_not_describe(client: Client, operation: str) -> None:
    arn = client("CreateSecret", Name="there", SecretString="v", ClientRequestToken=token())["ARN"]
    role = client.elsewhere(**rotation_role(rotation_policy("arn:aws:secretsmanager:x:1:secret:y")))
    for real, made_up in (("there", "gone!"), (arn, arn[:-6] + "zzzzzz"), (arn[:-7], arn[:-12] + "gone!")):
        answers = [refusal(partial(role, operation, SecretId=one)) for one in (real, made_up)]
        assert answers[0][0] == "AccessDeniedException"
        assert answers[0][1].replace(real, "X") == answers[1][1].replace(made_up, "X")


def test_a_denial_names_the_arn_only_to_who_may_describe_it(client: Client) -> None:
    arn = client("CreateSecret", Name="db")["ARN"]
    may_describe = client.elsewhere(**rotation_role(rotation_policy(arn)))
    code, message = refusal(partial(may_describe, "DeleteSecret", SecretId="db"))
    assert code == "AccessDeniedException"
    assert f"on resource: {arn} because" in message


def test_another_accounts_secret_is_denied_whether_it_is_there_or_not(client: Client) -> None:
    arn = client("CreateSecret", Name="db")["ARN"]
    other = AccountId("210987654321")
    stranger = client.elsewhere(
        account_id=other,
        principal=replace(
            client.principal, account_id=other, arn=f"arn:aws:iam::{other}:root", principal_id=other
        ),
    )
    answers = [
        refusal(partial(stranger, "DescribeSecret", SecretId=one)) for one in (arn, arn[:-6] + "zzzzzz")
    ]
    assert [code for code, _ in answers] == ["AccessDeniedException"] * 2
    assert answers[0][1].replace(arn, "X") == answers[1][1].replace(arn[:-6] + "zzzzzz", "X")


def test_a_subject_that_cannot_be_found_out_is_a_fault_and_no_permission(client: Client) -> None:
    def no_subject(_call: Call, _request: Request, _unit: Unit) -> Subject:
        raise ValueError(MARKER)

    def never(_call: Call, _request: Request, _unit: Unit) -> Answer:
        pytest.fail("it was never authorised")

    with capture_logs():
        outcome = Behaviour(never, subject=no_subject).run(client)
    assert isinstance(outcome, InternalServiceError)
    assert client.records[0]["errorCode"] == "InternalServiceError"


def test_input_that_was_refused_is_recorded_without_it(client: Client) -> None:
    passage = client.service.passages["CreateSecret"]
    error = SerializationException("bad")

    def work(unit: Unit) -> list[TrailEntry]:
        record_refusal(passage, client.call("CreateSecret"), error, unit)
        return list(unit.entries)

    (entry,) = client.database.write(work)
    assert b'"requestParameters":null' in entry.body
    assert b'"errorCode":"SerializationException"' in entry.body
    assert b'"readOnly":false' in entry.body
    assert events(client.database) == ["CreateSecret"]


def test_every_call_has_a_record_of_its_own(client: Client) -> None:
    for number in range(3):
        client("CreateSecret", Name=f"s{number}")
    assert len({uuid.UUID(record["eventID"]) for record in client.records}) == 3
    assert events(client.database) == ["CreateSecret"] * 3


def test_the_values_of_a_request_and_of_an_answer_are_not_in_the_record(client: Client) -> None:
    client("CreateSecret", Name="db", SecretString=MARKER, ClientRequestToken=token())
    client("PutSecretValue", SecretId="db", SecretBinary=MARKER.encode(), ClientRequestToken=token(1))
    client("GetSecretValue", SecretId="db")
    client("GetRandomPassword")
    assert [record["eventName"] for record in client.records][-1] == "GetRandomPassword"
    assert MARKER not in str(client.records)
    put = client.records[1]
    assert put["requestParameters"] == {"secretId": "db", "clientRequestToken": token(1)}
    assert put["responseElements"]["versionId"] == token(1)


def test_a_passage_returns_its_error_as_a_value(client: Client) -> None:
    passage = client.service.passages["DescribeSecret"]

    def work(unit: Unit) -> object:
        return pass_through(passage, client.call("DescribeSecret"), {"SecretId": "absent"}, unit)

    assert isinstance(client.database.read(work), ApiError)


def prepared_passage(client: Client, prepare: Callable[[Request], Any]) -> Passage:
    """Return DescribeSecret's passage, answering with what was prepared."""
    action = Action(
        name="DescribeSecret",
        handler=lambda call, _request, _unit: {"Name": call.gate.prepared()},
        subject=no_resource,
        mutates=False,
        prepare=of_request(prepare),
    )
    return passage_of(client.service, action)


def test_what_was_prepared_is_not_done_again_and_what_was_not_is_done_when_asked_for(client: Client) -> None:
    passage = prepared_passage(client, lambda request: f"{request['SecretId']}, late")
    call, request = client.call("DescribeSecret"), {"SecretId": "db"}

    def work(unit: Unit) -> list[Answer | ApiError]:
        both = [
            pass_through(passage, call, request, unit, lambda: "early"),
            pass_through(passage, call, request, unit),
        ]
        with pytest.raises(StoreError):
            call.gate.prepared()
        return both

    assert client.database.read(work) == [{"Name": "early"}, {"Name": "db, late"}]


def test_what_fails_while_it_is_prepared_is_the_calls_own_error_with_its_record(client: Client) -> None:
    def fail(_request: Request) -> NoReturn:
        raise LimitExceededException("Too much.")

    outcome = client.through(prepared_passage(client, fail), {"SecretId": "db"})
    assert isinstance(outcome, LimitExceededException)
    assert client.records[-1]["errorCode"] == "LimitExceededException"


def test_nothing_is_prepared_for_whom_the_gate_would_refuse(client: Client) -> None:
    client("CreateSecret", Name="db")
    passage, request = prepared_passage(client, lambda _: "prepared"), {"SecretId": "db"}
    nobody = Principal(
        kind=PrincipalKind.USER,
        arn=f"arn:aws:iam::{ACCOUNT}:user/nobody",
        account_id=ACCOUNT,
        principal_id="AIDANOBODY",
    )

    def told(principal: Principal) -> bool:
        def work(unit: Unit) -> bool:
            call = replace(client.call("DescribeSecret"), principal=principal)
            prepared = preparation(passage, call, request, unit)
            assert unit.entries == []
            return prepared is not None

        return client.database.read(work)

    assert told(client.principal)
    assert not told(nobody)


def told_before(client: Client, passage: Passage) -> bool:
    """Tell whether there is something to prepare for one call of an action, were it one that prepares something."""
    action = dataclasses.replace(passage.action, prepare=of_request(lambda _: "prepared"))
    preparing = dataclasses.replace(passage, action=action)

    def work(unit: Unit) -> bool:
        return preparation(preparing, client.call("DescribeSecret"), {"SecretId": "db"}, unit) is not None

    return client.database.read(work)


def test_nothing_is_prepared_for_credentials_that_are_no_longer_good(client: Client) -> None:
    arn = client("CreateSecret", Name="db")["ARN"]
    fence = client.database.write(partial(claim, seconds=0))
    role = client.elsewhere(**rotation_role(rotation_policy(arn), fence=fence))
    passage = client.service.passages["DescribeSecret"]
    assert told_before(role, passage)
    client.database.write(claim)
    assert not told_before(role, passage)


def test_whether_to_prepare_is_not_told_where_the_store_fails(client: Client) -> None:
    """What makes a unit of work run again must reach it."""

    def no_subject(_call: Call, _request: Request, _unit: Unit) -> Subject:
        raise StoreError("the store is away")

    action = Action(name="DescribeSecret", handler=lambda *_: {}, subject=no_subject, mutates=False)
    with pytest.raises(StoreError, match="the store is away"):
        told_before(client, passage_of(client.service, action))
