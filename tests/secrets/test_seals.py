"""What a secret is and has, under one MAC: nothing can be taken away or put back as it was, and nothing legal raises the alarm."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, delete, insert, select, update
from structlog.testing import capture_logs

from tests.calling import ACCOUNT, Client, refusal, token
from tests.kms.test_policies import policy
from tests.secrets.replicated import AWAY, HOME, Deployment, replicas
from tests.support import NOON, SettableClock
from turnlock import kms, secrets
from turnlock.errors import ApiError
from turnlock.root_key_rotation import MACS
from turnlock.secrets.seals import Holds, holds_of, remember
from turnlock.secrets.tables import (
    OWNER,
    SECRET_COLUMNS,
    resource_policies,
    secret_tags,
    secret_versions,
    staging_labels,
)
from turnlock.secrets.tables import secrets as secrets_table
from turnlock.storage import Database, Unit

PARTS = (staging_labels, secret_tags, resource_policies)
Row = dict[str, Any]

SHUT = policy(
    Effect="Deny",
    Principal="*",
    Action="secretsmanager:GetSecretValue",
    Condition={"StringEquals": {"aws:ResourceTag/Team": "red"}},
)
"""Nobody reads the value of a secret of the red team."""


@pytest.fixture
def client(client: Client) -> Client:
    """A client with the secrets `a` and `b`, each with two versions, tags and a policy that shuts it."""
    for number, name in enumerate("ab"):
        client("CreateSecret", Name=name, SecretString="old", ClientRequestToken=token(number))
        client("PutSecretValue", SecretId=name, SecretString="new", ClientRequestToken=token(10 + number))
        client("TagResource", SecretId=name, Tags=[{"Key": "Team", "Value": "red"}])
        client("PutResourcePolicy", SecretId=name, ResourcePolicy=SHUT)
    assert refusal(lambda: client("GetSecretValue", SecretId="a"))[0] == "AccessDeniedException"
    return client


def run(database: Database, *statements: Any) -> None:
    def work(unit: Unit) -> None:
        for statement in statements:
            unit.connection.execute(statement)

    database.write(work)


def rows(database: Database, table: Table, name: str = "a") -> list[Row]:
    found = select(table).where(table.c.name == name)
    return database.read(lambda unit: [dict(row) for row in unit.connection.execute(found).mappings()])


def put_back(database: Database, table: Table, kept: list[Row]) -> None:
    """Make a table's rows of the secret `a` be those that were kept."""
    run(database, delete(table).where(table.c.name == "a"), *(insert(table).values(row) for row in kept))


def alarmed(call: Callable[[], object]) -> None:
    with capture_logs() as logged:
        assert refusal(call) == ("InternalServiceError", "An error occurred on the server side.")
    assert [bool(line["row"]) for line in logged if line["action"] == "seal_broken"] == [True], logged


def of_a(table: Table) -> Any:
    return table.c.name == "a"


@pytest.mark.parametrize(
    "forgery",
    [
        delete(resource_policies).where(of_a(resource_policies)),
        delete(secret_tags).where(of_a(secret_tags)),
        delete(staging_labels).where(of_a(staging_labels)),
        delete(staging_labels).where(of_a(staging_labels), staging_labels.c.label == "AWSPREVIOUS"),
        delete(secret_versions).where(of_a(secret_versions), secret_versions.c.version_id == token(10)),
    ],
    ids=["the policy", "all tags", "all labels", "a label", "the current version"],
)
def test_what_was_taken_away_opens_nothing(client: Client, forgery: Any) -> None:
    run(client.database, forgery)
    alarmed(lambda: client("GetSecretValue", SecretId="a"))
    with suppress(ApiError):  # whatever becomes of another change, it makes nothing good
        client("PutSecretValue", SecretId="a", SecretString="x", ClientRequestToken=token(20))
    alarmed(lambda: client("GetSecretValue", SecretId="a"))
    assert refusal(lambda: client("GetSecretValue", SecretId="b"))[0] == "AccessDeniedException"


def test_tags_and_a_policy_that_were_taken_away_are_not_shown_as_none(client: Client) -> None:
    run(client.database, delete(secret_tags).where(of_a(secret_tags)))
    alarmed(lambda: client("DescribeSecret", SecretId="a"))
    run(client.database, delete(resource_policies).where(resource_policies.c.name == "b"))
    alarmed(lambda: client("GetResourcePolicy", SecretId="b"))


@pytest.mark.parametrize("table", PARTS, ids=lambda table: table.name)
def test_an_older_one_put_back_with_its_mac_opens_nothing(client: Client, table: Table) -> None:
    changes: dict[str, Callable[[], object]] = {
        "staging_labels": lambda: client(
            "PutSecretValue", SecretId="a", SecretString="newer", ClientRequestToken=token(20)
        ),
        "secret_tags": lambda: client("TagResource", SecretId="a", Tags=[{"Key": "Team", "Value": "blue"}]),
        "resource_policies": lambda: client(
            "PutResourcePolicy", SecretId="a", ResourcePolicy=policy(Action="secretsmanager:*")
        ),
    }
    kept = rows(client.database, table)
    changes[table.name]()
    put_back(client.database, table, kept)
    alarmed(lambda: client("GetSecretValue", SecretId="a"))


def test_one_that_was_deleted_is_not_brought_back(client: Client) -> None:
    kept = rows(client.database, resource_policies)
    client("DeleteResourcePolicy", SecretId="a")
    assert client("GetSecretValue", SecretId="a")["SecretString"] == "new"
    put_back(client.database, resource_policies, kept)
    alarmed(lambda: client("GetSecretValue", SecretId="a"))


OTHER: Row = {
    "account_id": "210987654321",
    "region": "us-east-1",
    "name": "c",
    "suffix": "abcdef",
    "description": "another",
    "kms_key_id": "alias/another",
    "rotation_enabled": True,
    "rotation_function_arn": f"arn:aws:lambda:{HOME}:{ACCOUNT}:function:mine",
    "rotation_rules": '{"AutomaticallyAfterDays":1}',
    "secret_type": "another",
    "owning_service": "rds",
    "external_metadata": "[]",
    "external_role_arn": "arn:aws:iam::123456789012:role/r",
    "primary_region": "us-east-1",
}
FREE = {"last_accessed_at", "rotation_starts_at"}
"""What may be written behind the server's back: nothing is decided by it but when a rotation begins."""


@pytest.mark.parametrize("column", [c.name for c in SECRET_COLUMNS if c.name not in OWNER])
def test_no_column_that_decides_something_can_be_changed(client: Client, column: str) -> None:
    client("CreateSecret", Name="plain", SecretString="v", ClientRequestToken=token(30))
    value = OTHER.get(column, NOON - timedelta(days=400))
    run(
        client.database,
        update(secrets_table).where(secrets_table.c.name == "plain").values({column: value}),
    )
    if column in FREE:
        assert client("GetSecretValue", SecretId="plain")["SecretString"] == "v"
    else:
        alarmed(lambda: client("GetSecretValue", SecretId="plain"))
        alarmed(lambda: client("RestoreSecret", SecretId="plain"))


@pytest.mark.parametrize("forged", [{"mac": None}, {"mac": b"x"}, {"holds": "{}"}, {"holds": None}])
def test_a_row_cannot_be_made_to_say_that_there_is_nothing(client: Client, forged: Row) -> None:
    gone = [delete(table).where(of_a(table)) for table in (resource_policies, secret_tags)]
    run(client.database, *gone, update(secrets_table).where(of_a(secrets_table)).values(forged))
    alarmed(lambda: client("GetSecretValue", SecretId="a"))
    alarmed(lambda: client("DescribeSecret", SecretId="a"))


def test_a_row_of_another_secret_says_nothing_of_this_one(client: Client) -> None:
    client("CreateSecret", Name="open", SecretString="v", ClientRequestToken=token(30))
    (donor,) = rows(client.database, secrets_table, "open")
    gone = [delete(table).where(of_a(table)) for table in (resource_policies, secret_tags)]
    taken = {name: donor[name] for name in ("holds", "mac")}
    run(client.database, *gone, update(secrets_table).where(of_a(secrets_table)).values(taken))
    alarmed(lambda: client("GetSecretValue", SecretId="a"))


def test_what_a_unit_remembers_of_a_row_that_is_gone_is_forgotten(client: Client) -> None:
    def work(unit: Unit) -> None:
        here = secrets.SecretReference(account_id=ACCOUNT, region=HOME, name="a", suffix=None)
        secret = secrets.find_secret(unit, here)
        assert secret is not None
        assert holds_of(unit, secret).policy is not None
        unit.connection.execute(delete(secrets_table).where(of_a(secrets_table)))
        remember(unit, secret, None)
        assert holds_of(unit, secret) == Holds()

    client.database.write(work)


def test_the_row_itself_put_back_as_it_was_does_not_fit_what_is_there(client: Client) -> None:
    client("CreateSecret", Name="c", SecretString="v", ClientRequestToken=token(30))
    (before,) = rows(client.database, secrets_table, "c")
    client("PutResourcePolicy", SecretId="c", ResourcePolicy=SHUT)
    of_c = secrets_table.c.name == "c"
    run(client.database, update(secrets_table).where(of_c).values(before))
    alarmed(lambda: client("GetSecretValue", SecretId="c"))


def test_a_change_makes_nothing_good_that_was_forged(client: Client) -> None:
    """Whoever writes makes a new MAC: over what was checked, and over nothing else."""
    run(client.database, update(secrets_table).where(of_a(secrets_table)).values(kms_key_id="alias/another"))

    def work(unit: Unit) -> None:
        reference = secrets.SecretReference(account_id=ACCOUNT, region=HOME, name="b", suffix=None)
        found = secrets.find_secret(unit, reference)
        assert found is not None
        secrets.update_secret(unit, found.evolve(name="a"))

    with pytest.raises(Exception, match="was not written by this server"):
        client.database.write(work)
    alarmed(lambda: client("GetSecretValue", SecretId="a"))


# --- what is legal raises no alarm

_prefixes = itertools.count()

OPERATIONS: dict[str, Row] = {
    "PutSecretValue": {"SecretString": "v"},
    "PutResourcePolicy": {"ResourcePolicy": policy(Action="secretsmanager:*")},
    "DeleteResourcePolicy": {},
    "TagResource": {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "ü", "Value": ""}]},
    "UntagResource": {"TagKeys": ["a"]},
    "UpdateSecret": {"Description": "ü\n", "SecretString": "w"},
    "DeleteSecret": {"RecoveryWindowInDays": 7},
    "RestoreSecret": {},
    "ReplicateSecretToRegions": {"AddReplicaRegions": replicas(AWAY)},
    "RemoveRegionsFromReplication": {"RemoveReplicaRegions": [AWAY]},
    "StopReplicationToReplica": {},
    "RotateSecret": {},
    "CancelRotateSecret": {},
}
IN_VAIN = {
    "InvalidRequestException",
    "InvalidParameterException",
    "ResourceNotFoundException",
    "ResourceExistsException",
}


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), st.booleans()), max_size=20),
    tagged=st.booleans(),
)
def test_no_sequence_of_calls_raises_the_alarm(
    here: Deployment, clock: SettableClock, steps: list[tuple[str, bool]], tagged: bool
) -> None:
    name = f"m{next(_prefixes)}"
    home, away = here.client(HOME), here.client(AWAY)
    tags = {"Tags": [{"Key": "b", "Value": "2"}]} if tagged else {}
    home("CreateSecret", Name=name, SecretString="v", ClientRequestToken=token(999), **tags)
    tokens = itertools.count(1000)
    for operation, at_home in steps:
        given = {**OPERATIONS[operation], "SecretId": name}
        if operation in {"PutSecretValue", "UpdateSecret", "RotateSecret"}:
            given["ClientRequestToken"] = token(next(tokens))
        clock.advance(timedelta(days=1))
        with _only_in_vain():
            (home if at_home else away)(operation, **given)
        here.deliver()
        for one in (home, away):
            with _only_in_vain():
                one("DescribeSecret", SecretId=name)
            with _only_in_vain():
                one("GetResourcePolicy", SecretId=name)
            with _only_in_vain():
                one("GetSecretValue", SecretId=name)
    kms.prove(here.database, here.place.keyring, MACS)


@contextmanager
def _only_in_vain() -> Iterator[None]:
    """Let pass what AWS refuses, and nothing else."""
    try:
        yield
    except ApiError as error:
        if error.code not in IN_VAIN:
            raise
