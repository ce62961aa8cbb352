"""Calling IAM and STS as botocore does: its serialiser, our protocol and gate, its parser."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from botocore import parsers, serialize
from botocore.handlers import json_decode_policies

from turnlock import accounts, iam, sts
from turnlock.core.action import Answer
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call, Principal, PrincipalKind, Session
from turnlock.errors import ApiError
from turnlock.shell.admission import Service
from turnlock.shell.gate import pass_through
from turnlock.storage import Database, Unit
from turnlock.wire import HttpRequest

ACCOUNT, OTHER = AccountId("123456789012"), AccountId("999999999999")
SERVICES = {
    "iam": Service.of("iam", iam.IAM_ACTIONS),
    "sts": Service.of("sts", sts.STS_ACTIONS),
}
TRUST = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},'
    '"Action":"sts:AssumeRole"}]}'
)
READ = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"secretsmanager:GetSecretValue",'
    '"Resource":"*"}]}'
)


@dataclass(kw_only=True)
class Caller:
    """Calls one service as one principal; errors are raised, answers are as an SDK has them."""

    database: Database
    service: str = "iam"
    principal: Principal = field(default_factory=lambda: accounts.root_principal(ACCOUNT))
    session: Session = field(default_factory=lambda: Session(access_key_id="AKIAEXAMPLE"))

    def elsewhere(self, **changes: Any) -> Caller:
        """Return a caller of the same store that differs in these."""
        return replace(self, **changes)

    def __call__(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation with parameters in the model's names."""
        service = SERVICES[self.service]
        passage = service.passages[operation]
        model = passage.operation.model
        sent: Mapping[str, Any] = serialize.create_serializer("query").serialize_to_request(parameters, model)
        request = HttpRequest(method="POST", path="/", body=urlencode(sent["body"]).encode())
        assert service.protocol.operation(request).name == operation
        parsed = service.protocol.parse(passage.operation, request)
        run = self.database.write if passage.action.mutates else self.database.read

        def act(unit: Unit) -> Answer | ApiError:
            return pass_through(passage, self.call(operation, unit), parsed, unit)

        outcome = run(act)
        if isinstance(outcome, ApiError):
            raise outcome
        response = service.protocol.respond(passage.operation, outcome, "r")
        if model.output_shape is None:
            return {}
        parser = parsers.create_parser("query")
        answer: dict[str, Any] = parser.parse(
            {"status_code": response.status, "headers": dict(response.headers), "body": response.body},
            model.output_shape,
        )
        answer.pop("ResponseMetadata", None)
        json_decode_policies(answer, model)
        return answer

    def call(self, operation: str, unit: Unit) -> Call:
        """Return a call of this caller's, now."""
        return Call(
            principal=self.principal,
            session=self.session,
            account_id=self.principal.account_id,
            region=Region("us-east-1"),
            service=self.service,
            action=operation,
            request_id=str(uuid.uuid4()),
            source_ip="192.0.2.7",
            user_agent="tests",
            at=unit.now,
        )


def user_principal(user: Mapping[str, Any]) -> Principal:
    """Return the principal of a user as an answer shows it."""
    return Principal(
        kind=PrincipalKind.USER,
        arn=user["Arn"],
        account_id=AccountId(user["Arn"].split(":")[4]),
        principal_id=user["UserId"],
    )
