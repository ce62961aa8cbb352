"""Calling Lambda and its neighbours as the server does, with requests as botocore sends them."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.awsrequest import prepare_request_dict
from botocore.serialize import create_serializer

from turnlock import accounts
from turnlock.core.action import Answer, Pending
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call, Principal, Session
from turnlock.errors import ApiError
from turnlock.shell.admission import Service
from turnlock.shell.gate import Passage, pass_through
from turnlock.storage import Database, Unit
from turnlock.wire import HttpRequest

ACCOUNT = AccountId("123456789012")
OTHER = AccountId("210987654321")
REGION = Region("eu-central-1")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/rotation"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
RIGHTS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["secretsmanager:*"], "Resource": "*"}],
}


def package(files: Mapping[str, str | bytes], *, executable: bool = False) -> bytes:
    """Return a zip file of these files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            archive.writestr(entry, content)
    return made.getvalue()


def request_of(service: Service, operation: str, parameters: Mapping[str, Any]) -> HttpRequest:
    """Return what a server gets of a request that botocore serialises."""
    contract = service.contract
    made = create_serializer(contract.protocol).serialize_to_request(
        dict(parameters), contract.operations[operation].model
    )
    prepare_request_dict(made, "http://127.0.0.1")
    url, body = urlsplit(made["url"]), made["body"]
    if isinstance(body, dict):
        raise TypeError("a query service's body")
    return HttpRequest(
        method=made["method"],
        path=unquote(url.path),
        query=url.query,
        headers=tuple((name.lower(), str(value)) for name, value in made["headers"].items()),
        body=body.encode() if isinstance(body, str) else bytes(body or b""),
    )


@dataclass(kw_only=True)
class Caller:
    """Calls one service as one principal; errors are raised, pending answers waited for, None members left out."""

    database: Database
    services: Mapping[str, Service] = field(repr=False)
    service: str = "lambda"
    principal: Principal = field(default_factory=lambda: accounts.root_principal(ACCOUNT))
    account_id: AccountId = ACCOUNT
    region: Region = REGION
    records: list[dict[str, Any]] = field(default_factory=list, repr=False)

    def elsewhere(self, **changes: Any) -> Caller:
        """Return a caller on the same store that differs in these."""
        return replace(self, **changes)

    def __call__(self, operation: str, **parameters: Any) -> dict[str, Any]:
        service = self.services[self.service]
        passage = service.passages[operation]
        for member in passage.operation.model.idempotent_members:
            parameters.setdefault(member, str(uuid.uuid4()))
        if service.contract.protocol == "query":
            request: Mapping[str, Any] = passage.operation.parse(parameters)
        else:
            request = service.protocol.parse(passage.operation, request_of(service, operation, parameters))
        outcome = self._through(passage, request)
        if isinstance(outcome, Pending):
            outcome = outcome.finish()
        service.protocol.respond(passage.operation, outcome, "r")
        return {name: value for name, value in outcome.items() if value is not None}

    def _through(self, passage: Passage, request: Mapping[str, Any]) -> Answer:
        run = self.database.write if passage.action.mutates else self.database.read
        outcome, entries = run(partial(self._pass, passage, request))
        self.records.extend(json.loads(entry) for entry in entries)
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    def _pass(
        self, passage: Passage, request: Mapping[str, Any], unit: Unit
    ) -> tuple[Answer | ApiError, list[bytes]]:
        call = Call(
            principal=self.principal,
            session=Session(access_key_id="AKIAEXAMPLE"),
            account_id=self.account_id,
            region=self.region,
            service=self.service,
            action=passage.action.name,
            request_id=str(uuid.uuid4()),
            source_ip="192.0.2.7",
            user_agent="tests",
            at=unit.now,
        )
        outcome = pass_through(passage, call, request, unit)
        return outcome, [entry.body for entry in unit.entries]
