"""Fixtures of KMS's tests: a client of KMS as the account's root user, on each store."""

from __future__ import annotations

import pytest

from tests.calling import Client, services
from tests.support import SettableClock, StorePlace


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def kms(store_place: StorePlace, clock: SettableClock) -> Client:
    """KMS, called by the account's root user."""
    return Client(database=store_place.open(clock=clock), clock=clock, service=services()["kms"])


@pytest.fixture
def key(kms: Client) -> str:
    """The ARN of a symmetric key that the account made."""
    arn: str = kms("CreateKey", Description="a test's")["KeyMetadata"]["Arn"]
    return arn
