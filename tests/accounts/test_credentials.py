"""Accounts, access keys and role sessions, on both stores."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Update, select, update
from structlog.testing import capture_logs

from tests.support import NOON, SettableClock, StorePlace
from turnlock import accounts
from turnlock.accounts import Credential, NewCredentials
from turnlock.accounts.credentials import KEPT_AFTER_EXPIRY, find_credential, new_access_key, unseal_secret
from turnlock.accounts.store import access_keys, find_access_key, sessions, set_access_key_active
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Fence, PrincipalKind
from turnlock.core.credentials import TemporaryCredentials
from turnlock.errors import (
    ConfigurationError,
    ExpiredTokenException,
    SealBroken,
    UnrecognizedClientException,
    ValidationException,
)
from turnlock.storage import Database, Unit

ACCOUNT, OTHER = AccountId("123456789012"), AccountId("999999999999")
POLICY = accounts.rotation_policy("arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-AbCdEf")
FENCE = Fence(account_id=ACCOUNT, region=Region("eu-central-1"), lease="rotation/db", number=7)


def create(database: Database, account_id: AccountId = ACCOUNT) -> NewCredentials:
    return database.write(lambda unit: accounts.create_account(unit, account_id))


def issue(
    database: Database,
    *,
    role_name: str = "rotation",
    session_name: str = "db",
    policy: str | None = POLICY,
    seconds: int = 900,
    fence: Fence | None = FENCE,
) -> TemporaryCredentials:
    return database.write(
        lambda unit: accounts.issue_session(
            unit,
            account_id=ACCOUNT,
            role_name=role_name,
            session_name=session_name,
            policy=policy,
            seconds=seconds,
            fence=fence,
        )
    )


def find(database: Database, access_key_id: str, token: str | None = None) -> Credential:
    return database.read(lambda unit: find_credential(unit, access_key_id, token, unit.now))


def unsealed(database: Database, credential: Credential) -> str:
    return database.read(lambda unit: unseal_secret(unit, credential))


def change(database: Database, statement: Update) -> None:
    assert database.write(lambda unit: unit.connection.execute(statement).rowcount) == 1


# Accounts and long-term keys.


def test_a_new_account_has_a_root_user_with_an_access_key(database: Database) -> None:
    made = create(database)
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", made.access_key_id)
    assert re.fullmatch(r"[A-Za-z0-9]{40}", made.secret_access_key)
    credential = find(database, made.access_key_id)
    assert credential.principal == accounts.root_principal(ACCOUNT)
    assert credential.principal.arn == f"arn:aws:iam::{ACCOUNT}:root"
    assert credential.principal.kind is PrincipalKind.ROOT
    assert credential.session.access_key_id == made.access_key_id
    assert credential.session.created_at is None
    assert credential.session.policy is None
    assert credential.session.fence is None
    assert unsealed(database, credential) == made.secret_access_key


def test_accounts_are_listed_in_order(database: Database) -> None:
    assert database.read(accounts.accounts) == []
    create(database, OTHER)
    create(database, ACCOUNT)
    assert database.read(accounts.accounts) == [ACCOUNT, OTHER]


def test_an_account_is_made_only_once(database: Database) -> None:
    made = create(database)
    with pytest.raises(ConfigurationError, match=f"The account {ACCOUNT} exists already"):
        create(database)
    rows = database.read(
        lambda unit: unit.connection.execute(select(access_keys.c.access_key_id)).scalars().all()
    )
    assert rows == [made.access_key_id]


def test_two_nodes_that_make_one_account_at_once_end_up_with_one_root_key(store_place: StorePlace) -> None:
    nodes = [store_place.open() for _ in range(3)]
    barrier = Barrier(len(nodes))

    def start(node: Database) -> bool:
        barrier.wait(timeout=60)
        try:
            create(node)
        except ConfigurationError:
            return False
        return True

    with ThreadPoolExecutor(len(nodes)) as pool:
        assert sorted(pool.map(start, nodes)) == [False, False, True]


@pytest.mark.parametrize("access_key_id", ["AKIA" + "A" * 16, "ASIA" + "A" * 16])
@pytest.mark.parametrize("token", [None, "token"])
def test_an_unknown_key_is_not_recognised(database: Database, access_key_id: str, token: str | None) -> None:
    with pytest.raises(UnrecognizedClientException):
        find(database, access_key_id, token)


@given(st.text(max_size=40) | st.text(max_size=20).map(lambda rest: "AKIA" + rest))
def test_a_hostile_key_id_is_not_recognised_and_reaches_no_query(access_key_id: str) -> None:
    unit: Unit = object()  # type: ignore[assignment]
    if not re.fullmatch(r"AKIA[A-Z2-7]{16}", access_key_id):
        with pytest.raises(UnrecognizedClientException):
            find_credential(unit, access_key_id, None, NOON)


def test_a_long_term_key_comes_without_a_token(database: Database) -> None:
    made = create(database)
    for token in ("", "token"):
        with pytest.raises(UnrecognizedClientException):
            find(database, made.access_key_id, token)


def test_an_inactive_key_is_not_recognised_from_the_next_request_on(database: Database) -> None:
    made = create(database)
    find(database, made.access_key_id)
    row = database.read(lambda unit: find_access_key(unit, made.access_key_id))
    assert row is not None
    database.write(lambda unit: set_access_key_active(unit, row, active=False))
    with pytest.raises(UnrecognizedClientException):
        find(database, made.access_key_id)


def test_a_bit_in_the_store_does_not_activate_a_key(database: Database) -> None:
    made = create(database)
    row = database.read(lambda unit: find_access_key(unit, made.access_key_id))
    assert row is not None
    database.write(lambda unit: set_access_key_active(unit, row, active=False))
    change(database, update(access_keys).values(active=True))
    with capture_logs() as logged, pytest.raises(SealBroken):
        find(database, made.access_key_id)
    assert [line["table"] for line in logged if line["action"] == "seal_broken"] == ["access_keys"]
    with capture_logs(), pytest.raises(SealBroken):  # nothing forged becomes good by a legal change
        database.write(lambda unit: set_access_key_active(unit, row, active=True))


def test_a_key_of_a_principal_that_this_release_does_not_know_is_not_recognised(database: Database) -> None:
    later = f"arn:aws:iam::{ACCOUNT}:user/later"
    made = database.write(lambda unit: new_access_key(unit, ACCOUNT, arn=later, principal_id="AIDALATER"))
    with pytest.raises(UnrecognizedClientException):
        find(database, made.access_key_id)


def test_a_secret_moved_to_another_accounts_key_does_not_open(database: Database) -> None:
    ours, theirs = create(database, ACCOUNT), create(database, OTHER)
    stolen = find(database, ours.access_key_id).sealed_secret
    mine = access_keys.c.access_key_id == theirs.access_key_id
    change(database, update(access_keys).where(mine).values(sealed_secret=stolen))
    with capture_logs() as logged, pytest.raises(SealBroken):
        find(database, theirs.access_key_id)
    assert ours.secret_access_key not in repr(logged)


# Sessions.


def test_a_session_is_found_by_its_key_and_token_as_it_was_issued(database: Database) -> None:
    issued = issue(database)
    assert re.fullmatch(r"ASIA[A-Z2-7]{16}", issued.access_key_id)
    assert re.fullmatch(r"[A-Za-z0-9]{40}", issued.secret_access_key)
    assert len(issued.session_token) >= 64
    credential = find(database, issued.access_key_id, issued.session_token)
    principal, session = credential.principal, credential.session
    assert principal.kind is PrincipalKind.ASSUMED_ROLE
    assert principal.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/rotation/db"
    assert principal.account_id == ACCOUNT
    assert re.fullmatch(r"AROA[A-Z2-7]{17}:db", principal.principal_id)
    assert (session.policy, session.fence) == (POLICY, FENCE)
    assert session.created_at == issued.expires_at - timedelta(seconds=900)
    assert unsealed(database, credential) == issued.secret_access_key


def test_a_session_may_have_neither_policy_nor_fence(database: Database) -> None:
    issued = issue(database, policy=None, fence=None)
    credential = find(database, issued.access_key_id, issued.session_token)
    assert (credential.session.policy, credential.session.fence) == (None, None)
    assert unsealed(database, credential) == issued.secret_access_key


def test_sessions_of_one_role_share_its_id_and_nothing_else(database: Database) -> None:
    one, other = issue(database, session_name="one"), issue(database, session_name="other")
    ids = [
        find(database, each.access_key_id, each.session_token).principal.principal_id for each in (one, other)
    ]
    assert ids[0].removesuffix(":one") == ids[1].removesuffix(":other")
    assert one.session_token != other.session_token
    assert one.secret_access_key != other.secret_access_key


def test_neither_token_nor_secret_is_stored_in_the_clear(database: Database) -> None:
    issued, made = issue(database), create(database)
    rows = database.read(
        lambda unit: [unit.connection.execute(select(table)).all() for table in (sessions, access_keys)]
    )
    for secret in (issued.session_token, issued.secret_access_key, made.secret_access_key):
        assert secret not in repr(rows)


def test_a_wrong_or_missing_token_is_not_recognised(database: Database) -> None:
    issued, other = issue(database), issue(database)
    wrong = (
        None,
        "",
        "x",
        issued.session_token[:-1],
        issued.session_token + "=",
        other.session_token,
        "\ud800",
    )
    for token in wrong:
        with pytest.raises(UnrecognizedClientException):
            find(database, issued.access_key_id, token)


def test_a_session_is_over_at_its_expiry_and_says_so_to_its_holder_alone(store_place: StorePlace) -> None:
    clock = SettableClock()
    database = store_place.open(clock=clock)
    issued = issue(database, seconds=900)
    assert issued.expires_at == NOON + timedelta(seconds=900)
    clock.advance(timedelta(seconds=900, microseconds=-1))
    find(database, issued.access_key_id, issued.session_token)
    clock.advance(timedelta(microseconds=1))
    with pytest.raises(ExpiredTokenException):
        find(database, issued.access_key_id, issued.session_token)
    with pytest.raises(UnrecognizedClientException):
        find(database, issued.access_key_id, "another token")


def test_an_ended_session_is_not_recognised_on_any_node(store_place: StorePlace) -> None:
    here, there = store_place.open(), store_place.open()
    issued = issue(here)
    find(there, issued.access_key_id, issued.session_token)
    here.write(lambda unit: accounts.end_session(unit, issued.access_key_id))
    here.write(lambda unit: accounts.end_session(unit, issued.access_key_id))
    with pytest.raises(UnrecognizedClientException):
        find(there, issued.access_key_id, issued.session_token)


def test_expired_sessions_are_purged_after_a_while(store_place: StorePlace) -> None:
    clock = SettableClock()
    database = store_place.open(clock=clock)
    short, long = issue(database, seconds=60), issue(database, seconds=61)
    clock.advance(timedelta(seconds=60) + KEPT_AFTER_EXPIRY - timedelta(microseconds=1))
    assert database.write(accounts.purge_expired) == 0
    clock.advance(timedelta(microseconds=1))
    assert database.write(accounts.purge_expired) == 1
    with pytest.raises(UnrecognizedClientException):
        find(database, short.access_key_id, short.session_token)
    with pytest.raises(ExpiredTokenException):
        find(database, long.access_key_id, long.session_token)


def test_a_session_gets_the_fence_of_its_next_rotation_and_keeps_its_secret(database: Database) -> None:
    issued = issue(database)
    following = Fence(account_id=ACCOUNT, region=FENCE.region, lease=FENCE.lease, number=8)
    database.write(lambda unit: accounts.refence(unit, issued.access_key_id, following))
    credential = find(database, issued.access_key_id, issued.session_token)
    assert credential.session.fence == following
    assert unsealed(database, credential) == issued.secret_access_key


def test_only_a_session_of_the_fences_own_account_is_refenced(database: Database) -> None:
    issued = issue(database)
    foreign = Fence(account_id=OTHER, region=FENCE.region, lease=FENCE.lease, number=8)
    for access_key_id, fence in ((issued.access_key_id, foreign), ("ASIA" + "A" * 16, FENCE)):
        with pytest.raises(UnrecognizedClientException):
            database.write(lambda unit, key=access_key_id, fence=fence: accounts.refence(unit, key, fence))  # type: ignore[misc]
    assert find(database, issued.access_key_id, issued.session_token).session.fence == FENCE


@pytest.mark.parametrize(
    "changed",
    [
        {"policy": None},
        {"policy": POLICY.replace("db-AbCdEf", "other-AbCdEf")},
        {"expires_at": NOON + timedelta(days=36_500)},
        {"issued_at": NOON - timedelta(days=1)},
        {"principal_id": "AROAOTHER:db"},
        {"principal_arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/admin/db"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_session_whose_row_was_changed_in_the_store_is_none(
    database: Database, changed: dict[str, object]
) -> None:
    issued = issue(database)
    change(database, update(sessions).values(changed))
    with capture_logs(), pytest.raises(SealBroken):
        find(database, issued.access_key_id, issued.session_token)


def test_a_token_of_ones_own_put_into_a_session_row_opens_no_secret(database: Database) -> None:
    issued = issue(database)
    change(database, update(sessions).values(token_digest=hashlib.sha256(b"mine").digest()))
    with capture_logs(), pytest.raises(SealBroken):
        find(database, issued.access_key_id, "mine")


@pytest.mark.parametrize(
    "attempt",
    [
        lambda database: issue(database, role_name=""),
        lambda database: issue(database, role_name="a/b"),
        lambda database: issue(database, session_name="x"),
        lambda database: issue(database, session_name="x" * 65),
        lambda database: issue(database, session_name="a:b"),
        lambda database: issue(database, session_name="db\n"),
        lambda database: issue(database, seconds=0),
        lambda database: issue(
            database, fence=Fence(account_id=OTHER, region=FENCE.region, lease="l", number=1)
        ),
    ],
)
def test_a_session_that_cannot_be_is_not_issued(
    database: Database, attempt: Callable[[Database], object]
) -> None:
    with pytest.raises(ValidationException):
        attempt(database)
    assert database.read(lambda unit: unit.connection.execute(select(sessions)).all()) == []
