"""A whole application in this process: every service of the server, over its gate, with no HTTP before it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turnlock import app, identity
from turnlock.config import Config
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call, Principal
from turnlock.errors import ApiError
from turnlock.gate import pass_through

ACCOUNT, REGION = AccountId("123456789012"), Region("eu-central-1")


def policy(*statements: Mapping[str, Any]) -> str:
    """Return a policy of these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class Placed:
    """An application on SQLite in a directory of its own. Close it."""

    def __init__(self, data_dir: Path) -> None:
        config = Config(
            data_dir=data_dir, host="127.0.0.1", port=0, account_id=ACCOUNT, regions=frozenset({REGION})
        )
        app.initialise(config)
        self.application = app.build(config)
        self._services = app.services()

    def outcome(
        self, service: str, operation: str, principal: Principal | None = None, **request: Any
    ) -> Any:
        """Return the answer or the error that a call of a principal, the root user unless named, gets."""
        database = self.application.database
        call = Call(
            principal=principal or identity.root_principal(ACCOUNT),
            account_id=ACCOUNT,
            region=REGION,
            service=service,
            action=operation,
            request_id=str(uuid.uuid4()),
            source_ip="127.0.0.1",
            user_agent="test",
            at=database.read(lambda unit: unit.now),
        )
        passage = self._services[service].passages[operation]
        return database.write(lambda unit: pass_through(passage, call, request, unit))

    def do(self, service: str, operation: str, **request: Any) -> Any:
        """Return the answer to the root user. Raises ApiError."""
        outcome = self.outcome(service, operation, **request)
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    def user(self, name: str, **request: Any) -> Principal:
        """Make a user and return its principal."""
        self.do("iam", "CreateUser", UserName=name, **request)
        arn = f"arn:aws:iam::{ACCOUNT}:user/{name}"
        found = self.application.database.read(lambda unit: identity.find_principal(unit, arn))
        assert found is not None
        return found

    def put_user_policy(self, user: str, *statements: Mapping[str, Any]) -> None:
        """Let a user have this policy and no other."""
        self.do("iam", "PutUserPolicy", UserName=user, PolicyName="only", PolicyDocument=policy(*statements))

    def close(self) -> None:
        """End it."""
        self.application.close()
