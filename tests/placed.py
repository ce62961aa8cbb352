"""A whole application in this process: every service of the server, over its gate, with no HTTP before it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from turnlock import accounts, app
from turnlock.config import Config
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call, Principal
from turnlock.errors import ApiError
from turnlock.shell.gate import pass_through
from turnlock.shell.server import Server
from turnlock.wire import HttpRequest, HttpResponse

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
            principal=principal or accounts.root_principal(ACCOUNT),
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
        found = self.application.database.read(lambda unit: accounts.find_principal(unit, arn))
        assert found is not None
        return found

    def put_user_policy(self, user: str, *statements: Mapping[str, Any]) -> None:
        """Let a user have this policy and no other."""
        self.do("iam", "PutUserPolicy", UserName=user, PolicyName="only", PolicyDocument=policy(*statements))

    def key(self, user: str) -> Credentials:
        """Make an access key for a user."""
        made = self.do("iam", "CreateAccessKey", UserName=user)["AccessKey"]
        return Credentials(made["AccessKeyId"], made["SecretAccessKey"])

    def close(self) -> None:
        """End it."""
        self.application.close()


class Caller:
    """Signs requests with one access key, as an SDK does, and hands them to a server in this process."""

    def __init__(self, server: Server, credentials: Credentials) -> None:
        self._server = server
        self._credentials = credentials

    def request(
        self,
        service: str,
        operation: str,
        body: bytes,
        user_agent: str = "test",
        source_ip: str = "127.0.0.1",
    ) -> HttpRequest:
        """Return a signed request of a service that speaks JSON or query; `body` is in its form."""
        headers = dict(HEADERS[service])
        if service in TARGETS:
            headers["x-amz-target"] = f"{TARGETS[service]}.{operation}"
        request = AWSRequest("POST", "http://127.0.0.1/", headers=headers, data=body)
        SigV4Auth(self._credentials, service, REGION).add_auth(request)
        found = [(name.lower(), value) for name, value in request.headers.items()]
        return HttpRequest(
            method="POST",
            path="/",
            headers=(*found, ("host", "127.0.0.1"), ("user-agent", user_agent)),
            body=body,
            source_ip=source_ip,
        )

    async def ask(self, service: str, operation: str, **members: Any) -> HttpResponse:
        """Return the answer to a request in JSON."""
        return await self._server.respond(self.request(service, operation, json.dumps(members).encode()))


TARGETS = {"secretsmanager": "secretsmanager", "kms": "TrentService", "logs": "Logs_20140328"}
"""By the services that speak JSON: what stands before an operation's name in X-Amz-Target."""

HEADERS = {
    "secretsmanager": {"content-type": "application/x-amz-json-1.1"},
    "kms": {"content-type": "application/x-amz-json-1.1"},
    "logs": {"content-type": "application/x-amz-json-1.1"},
    **{name: {"content-type": "application/x-www-form-urlencoded"} for name in ("iam", "sts", "rds")},
}
