"""A store with an account, and its root user calling IAM."""

from __future__ import annotations

from functools import partial

import pytest
from argon2 import PasswordHasher

from tests.iam.calling import ACCOUNT, OTHER, Caller
from tests.support import SettableClock, StorePlace
from turnlock import accounts
from turnlock.iam import login_profiles
from turnlock.storage import Database


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords in a millisecond; a test of how they are hashed undoes it."""
    monkeypatch.setattr(login_profiles, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def store(store_place: StorePlace, clock: SettableClock) -> Database:
    """An opened store with two accounts."""
    database = store_place.open(clock=clock)
    for account in (ACCOUNT, OTHER):
        database.write(partial(accounts.create_account, account_id=account))
    return database


@pytest.fixture
def iam(store: Database) -> Caller:
    """The first account's root user."""
    return Caller(database=store)
