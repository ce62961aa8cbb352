"""Kept signing keys."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from turnlock import accounts
from turnlock.accounts import SigningKeys, find_credential
from turnlock.accounts.store import access_keys, sessions
from turnlock.core.arn import AccountId
from turnlock.core.credentials import TemporaryCredentials
from turnlock.errors import SealBroken
from turnlock.storage import Database, Unit

ACCOUNT = AccountId("123456789012")


class Deriving:
    """Derives a key that says what it was made of, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, secret: str) -> bytes:
        self.times += 1
        return expected(secret)


def expected(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def get(
    database: Database,
    signing_keys: SigningKeys,
    derive: Deriving,
    access_key_id: str,
    token: str | None = None,
    *,
    scope: tuple[str, str, str] = ("20261123", "eu-central-1", "secretsmanager"),
) -> bytes:
    def work(unit: Unit) -> bytes:
        credential = find_credential(unit, access_key_id, token, unit.now)
        date, region, service = scope
        return signing_keys.get(unit, credential, date=date, region=region, service=service, derive=derive)

    return database.read(work)


def issue(unit: Unit) -> TemporaryCredentials:
    return accounts.issue_session(
        unit, account_id=ACCOUNT, role_name="role", session_name="name", policy="{}", seconds=60, fence=None
    )


def test_a_key_is_derived_once_for_each_scope(database: Database) -> None:
    made = database.write(lambda unit: accounts.create_account(unit, ACCOUNT))
    signing_keys, derive = SigningKeys(), Deriving()
    for _ in range(3):
        assert get(database, signing_keys, derive, made.access_key_id) == expected(made.secret_access_key)
    assert derive.times == 1
    scopes = [
        ("20261124", "eu-central-1", "secretsmanager"),
        ("20261123", "eu-west-1", "secretsmanager"),
        ("20261123", "eu-central-1", "sts"),
    ]
    for scope in scopes * 2:
        get(database, signing_keys, derive, made.access_key_id, scope=scope)
    assert derive.times == 4


def test_each_credential_has_its_own_key(database: Database) -> None:
    made = database.write(lambda unit: accounts.create_account(unit, ACCOUNT))
    issued = database.write(issue)
    signing_keys, derive = SigningKeys(), Deriving()
    assert get(database, signing_keys, derive, made.access_key_id) == expected(made.secret_access_key)
    session = get(database, signing_keys, derive, issued.access_key_id, issued.session_token)
    assert session == expected(issued.secret_access_key)


def test_a_kept_key_is_not_found_for_a_row_that_was_changed_since(database: Database) -> None:
    issued = database.write(issue)
    signing_keys, derive = SigningKeys(), Deriving()
    get(database, signing_keys, derive, issued.access_key_id, issued.session_token)
    widened = update(sessions).values(policy=accounts.rotation_policy("arn:aws:secretsmanager:::secret:x"))
    database.write(lambda unit: unit.connection.execute(widened).rowcount)
    with capture_logs(), pytest.raises(SealBroken):
        get(database, signing_keys, derive, issued.access_key_id, issued.session_token)


def test_a_damaged_secret_is_met_even_while_its_key_is_kept(database: Database) -> None:
    made = database.write(lambda unit: accounts.create_account(unit, ACCOUNT))
    signing_keys, derive = SigningKeys(), Deriving()
    get(database, signing_keys, derive, made.access_key_id)
    database.write(
        lambda unit: unit.connection.execute(update(access_keys).values(sealed_secret=b"x")).rowcount
    )
    with capture_logs() as logged, pytest.raises(SealBroken):
        get(database, signing_keys, derive, made.access_key_id)
    assert [line["action"] for line in logged] == ["seal_broken"]


def test_only_so_many_keys_are_kept(database: Database) -> None:
    made = database.write(lambda unit: accounts.create_account(unit, ACCOUNT))
    signing_keys, derive = SigningKeys(size=2), Deriving()
    for date in ("20261121", "20261122", "20261123", "20261121"):
        get(database, signing_keys, derive, made.access_key_id, scope=(date, "r", "s"))
    assert derive.times == 4


def test_threads_share_the_kept_keys(database: Database) -> None:
    made = database.write(lambda unit: accounts.create_account(unit, ACCOUNT))
    signing_keys, derive = SigningKeys(), Deriving()

    def ask(_: int) -> bytes:
        return get(database, signing_keys, derive, made.access_key_id)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ask, range(100))) == {expected(made.secret_access_key)}
    assert derive.times <= 4
