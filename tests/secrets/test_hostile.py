"""Input at the border: odd characters never become a fault, and a value never leaves by another door."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.calling import ACCOUNT, REGION, Client, token
from tests.sampling import examples
from tests.support import StorePlace
from turnlock.errors import ApiError, InternalServiceError
from turnlock.secrets import PURGE, purge
from turnlock.storage import Unit
from turnlock.storage.outbox import Deliverer

ODD = [
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "\U0010ffff",
    "\u202e",
    "é",
    "e\u0301",
    "\x7f",
    "\x1b[31m",
    "'",
    '"',
    "%s",
    "\\",
    "x" * 300,
]
ARN = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:"

MEMBERS: dict[str, list[str]] = {
    "CreateSecret": ["Name", "Description", "KmsKeyId", "SecretString", "ClientRequestToken"],
    "DeleteSecret": ["SecretId"],
    "DescribeSecret": ["SecretId"],
    "GetRandomPassword": ["ExcludeCharacters"],
    "GetSecretValue": ["SecretId", "VersionId", "VersionStage"],
    "ListSecrets": ["NextToken"],
    "PutSecretValue": ["SecretId", "ClientRequestToken", "SecretString"],
    "UpdateSecretVersionStage": ["SecretId", "VersionStage", "MoveToVersionId", "RemoveFromVersionId"],
}


@pytest.fixture
def client(client: Client) -> Client:
    client("CreateSecret", Name="db", SecretString="v0", ClientRequestToken=token())
    return client


def body_of(parameters: dict[str, Any]) -> bytes:
    """Return JSON in which lone surrogates are escaped, as a careless client sends them."""
    return json.dumps(parameters).encode("ascii")


def survives(client: Client, operation: str, parameters: dict[str, Any]) -> None:
    """Assert that a call ends in an answer or in an error that blames the caller."""
    try:
        client.body(operation, body_of(parameters))
    except InternalServiceError as fault:
        raise AssertionError(f"{operation}: {parameters!r}") from fault
    except ApiError:
        pass


def plain(operation: str) -> dict[str, Any]:
    given: dict[str, Any] = {
        "CreateSecret": {"Name": "new", "SecretString": "v", "ClientRequestToken": token(1)},
        "PutSecretValue": {"SecretId": "db", "SecretString": "v", "ClientRequestToken": token(1)},
        "UpdateSecretVersionStage": {"SecretId": "db", "VersionStage": "blue", "MoveToVersionId": token()},
        "GetRandomPassword": {},
        "ListSecrets": {},
    }
    return dict(given.get(operation, {"SecretId": "db"}))


@pytest.mark.parametrize("operation", MEMBERS)
def test_odd_characters_in_any_text_are_no_fault_of_ours(client: Client, operation: str) -> None:
    for member in MEMBERS[operation]:
        for odd in ODD:
            # Alone, made long enough for identifiers, and as a part of an ARN.
            for value in (odd, odd + "0" * 40, "db" + odd, ARN + odd, ARN + "db-" + odd * 6):
                survives(client, operation, {**plain(operation), member: value})


def test_odd_characters_in_lists_are_no_fault_of_ours(client: Client) -> None:
    for number, odd in enumerate(ODD):
        name = f"s{number}"
        survives(client, "CreateSecret", {"Name": name, "Tags": [{"Key": odd, "Value": "v"}]})
        survives(client, "CreateSecret", {"Name": f"{name}v", "Tags": [{"Key": "k", "Value": odd}]})
        survives(
            client,
            "PutSecretValue",
            {**plain("PutSecretValue"), "ClientRequestToken": token(number), "VersionStages": [odd]},
        )
        for key in ("all", "name", "description", "tag-key", "tag-value", "primary-region", odd):
            survives(client, "ListSecrets", {"Filters": [{"Key": key, "Values": [odd, f"!{odd}"]}]})
    survives(client, "ListSecrets", {})


def test_a_taken_name_with_a_null_character_in_the_token_is_no_fault_of_ours(client: Client) -> None:
    survives(
        client,
        "CreateSecret",
        {"Name": "db", "SecretString": "v0", "ClientRequestToken": "\0" * 40},
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(
    max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(operation=st.sampled_from(sorted(MEMBERS)), value=JSON, data=st.data())
def test_any_json_in_any_place_is_no_fault_of_ours(
    client: Client, operation: str, value: object, data: st.DataObject
) -> None:
    member = data.draw(st.sampled_from([*MEMBERS[operation], "Tags", "Filters", "MaxResults"]))
    survives(client, operation, {**plain(operation), member: value})


@pytest.mark.parametrize(
    "value",
    [
        "two lines\nand a\ttab",
        "ünïcödé \U0001f511",
        "\x01\x02",
        '{"username":"u","password":"p\\"\\\\"}',
        "null\0inside",
        " ",
    ],
)
def test_values_may_hold_any_text_and_are_kept_whole(client: Client, value: str) -> None:
    client("PutSecretValue", SecretId="db", SecretString=value, ClientRequestToken=token(7))
    assert client("GetSecretValue", SecretId="db")["SecretString"] == value


MARKER = "marker-5b1f0c9e7d"
BINARY_MARKER = b"\x00\xfebinary-marker-93ab\xff"


def test_a_value_is_in_no_table_no_file_no_record_and_no_log(
    client: Client,
    store_place: StorePlace,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    try:
        live_a_life(client)
    finally:
        structlog.reset_defaults()
    passwords = [json.loads(body)["RandomPassword"] for body in client.answers if b"RandomPassword" in body]
    assert len(passwords) == 1
    wanted = [MARKER.encode(), BINARY_MARKER, passwords[0].encode()]
    answers = [body for body in client.answers if MARKER.encode() in body]
    assert len(answers) == 2  # the marker does go where it was asked for: the search below can find it

    seen = {"records": json.dumps(client.records).encode(), "caplog": caplog.text.encode()}
    out, err = capfd.readouterr()
    seen |= {"stdout": out.encode(), "stderr": err.encode()}
    seen |= {f"table {table}": content for table, content in every_row(client).items()}
    seen |= {str(path): path.read_bytes() for path in store_place.data_dir.rglob("*") if path.is_file()}
    for place, content in seen.items():
        for value in wanted:
            for form in forms(value):
                assert form not in content, place
    assert "seal_broken" in out + err  # there was something to log


def live_a_life(client: Client) -> None:
    """Let a value go through every action, its failures included."""
    value = {"SecretString": MARKER}
    client("CreateSecret", Name="marked", ClientRequestToken=token(), **value)
    client("GetSecretValue", SecretId="marked")
    for operation, parameters in (
        ("CreateSecret", {"Name": "marked", "ClientRequestToken": token(3), **value}),
        ("CreateSecret", {"Name": "marked", "SecretBinary": BINARY_MARKER, **value}),
        ("CreateSecret", {"Name": "bad name", "ClientRequestToken": token(), **value}),
        (
            "PutSecretValue",
            {"SecretId": "marked", "ClientRequestToken": token(), "SecretString": MARKER + "x"},
        ),
        ("PutSecretValue", {"SecretId": "absent", "ClientRequestToken": token(), **value}),
        ("PutSecretValue", {"SecretId": "marked", "ClientRequestToken": "short", **value}),
        ("PutSecretValue", {"SecretId": "marked", "ClientRequestToken": token(), "SecretString": [MARKER]}),
        (
            "PutSecretValue",
            {"SecretId": "marked", "SecretString": MARKER * 6000, "ClientRequestToken": token(4)},
        ),
        ("PutSecretValue", {"SecretId": "marked", "SecretString": MARKER, "RotationToken": "short"}),
        ("UpdateSecretVersionStage", {"SecretId": "marked", "VersionStage": "AWSCURRENT"}),
    ):
        with pytest.raises(ApiError):
            client(operation, **parameters)
    client("PutSecretValue", SecretId="marked", SecretBinary=BINARY_MARKER, ClientRequestToken=token(1))
    client("GetSecretValue", SecretId="marked")
    client("GetSecretValue", SecretId="marked", VersionStage="AWSPREVIOUS")
    client("GetRandomPassword")
    client.database.write(break_the_seal)
    with pytest.raises(InternalServiceError):
        client("GetSecretValue", SecretId="marked")
    client("DeleteSecret", SecretId="marked", ForceDeleteWithoutRecovery=True)
    client("CreateSecret", Name="kept", ClientRequestToken=token(), **value)
    client("DeleteSecret", SecretId="kept")
    Deliverer(client.database, {PURGE: purge}, "tests").tick()


def break_the_seal(unit: Unit) -> None:
    """Put the value of one version in the place of another's."""
    statement = (
        "UPDATE secret_versions SET kind = 'string', sealed ="
        " (SELECT sealed FROM secret_versions WHERE name = 'marked' AND version_id = :old)"
        " WHERE name = 'marked' AND version_id = :new"
    )
    unit.connection.execute(text(statement), {"old": token(0), "new": token(1)})


def every_row(client: Client) -> dict[str, bytes]:
    """Return the content of every table, in the bytes that it holds."""

    def work(unit: Unit) -> dict[str, bytes]:
        catalogue = (
            "SELECT name FROM sqlite_master WHERE type = 'table'"
            if unit.dialect == "sqlite"
            else "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        tables = unit.connection.execute(text(catalogue)).scalars().all()
        return {
            table: b"\n".join(
                bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                for row in unit.connection.execute(text(f'SELECT * FROM "{table}"'))
                for value in row
            )
            for table in tables
        }

    return client.database.read(work)


def forms(value: bytes) -> list[bytes]:
    """Return a value as it would be found: itself, in Base64, in hexadecimal, and escaped."""
    return [value, base64.b64encode(value), value.hex().encode(), repr(value)[2:-1].encode()]
