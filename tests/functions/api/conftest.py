"""A store with an account, its role for functions, and its root user calling Lambda."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from tests.functions.api.calling import ACCOUNT, OTHER, RIGHTS, ROLE, TRUST, Caller, package
from tests.support import SettableClock, StorePlace
from turnlock import accounts, rotation, secrets
from turnlock.functions import LOGS_ACTIONS, LambdaService
from turnlock.iam import IAM_ACTIONS
from turnlock.shell.admission import Service
from turnlock.shell.gate import Passage
from turnlock.storage import Database

HANDLER = "def handler(event, context):\n    return event\n"


@pytest.fixture
def clock() -> SettableClock:
    """The store's clock, as of now: credentials that it dates are judged by the processes' own clock."""
    return SettableClock(datetime.now(UTC))


@pytest.fixture
def store(store_place: StorePlace, clock: SettableClock) -> Database:
    """An opened store with two accounts."""
    database = store_place.open(clock=clock)
    for account in (ACCOUNT, OTHER):
        database.write(partial(accounts.create_account, account_id=account))
    return database


@pytest.fixture
def lambda_service(store: Database) -> Iterator[LambdaService]:
    service = LambdaService(store, "tests", endpoint="http://127.0.0.1:1")
    yield service
    service.close()


@pytest.fixture
def services(lambda_service: LambdaService) -> dict[str, Service]:
    registry: dict[str, Passage] = {}
    return {
        "lambda": Service.of("lambda", lambda_service.actions(), registry),
        "logs": Service.of("logs", LOGS_ACTIONS, registry),
        "iam": Service.of("iam", IAM_ACTIONS, registry),
        "secretsmanager": Service.of("secretsmanager", (*secrets.ACTIONS, *rotation.ACTIONS), registry),
    }


@pytest.fixture
def root(store: Database, services: dict[str, Service]) -> Caller:
    """The first account's root user; the role that functions get is made."""
    caller = Caller(database=store, services=services)
    iam = caller.elsewhere(service="iam")
    iam("CreateRole", RoleName="rotation", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam(
        "PutRolePolicy",
        RoleName="rotation",
        PolicyName="all",
        PolicyDocument=json.dumps(RIGHTS),
    )
    return caller


@pytest.fixture
def create(root: Caller) -> Callable[..., dict[str, Any]]:
    """Make a function that answers with its event; settings can be changed."""

    def make(name: str = "echo", /, **changes: Any) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "FunctionName": name,
            "Runtime": "python3.11",
            "Role": ROLE,
            "Handler": "main.handler",
            "Code": {"ZipFile": package({"main.py": HANDLER})},
        }
        return root("CreateFunction", **settings | changes)

    return make
