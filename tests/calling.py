"""Calling actions as the server does: a JSON body through the wire's parser, the gate and a real unit of work."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tests.support import SettableClock
from turnlock import accounts, kms, rotation, secrets
from turnlock.accounts.entities import saved_principals
from turnlock.core.action import Action, Answer
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call, Principal, Session
from turnlock.errors import ApiError
from turnlock.shell.admission import Service
from turnlock.shell.gate import Passage, pass_through
from turnlock.storage import Database, Unit
from turnlock.wire import HttpRequest

ACCOUNT = AccountId("123456789012")
REGION = Region("eu-central-1")


def token(number: int = 0) -> str:
    """Return a ClientRequestToken, another for each number."""
    return str(uuid.UUID(int=number + (4 << 76) + (8 << 60)))


def as_json(value: object) -> object:
    """Return bytes in Base64, as SDKs send blobs."""
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()


def services() -> dict[str, Service]:
    """Return Secrets Manager and KMS, by signing name, as one server joins them."""
    registry: dict[str, Passage] = {}
    actions = kms.kms_actions(saved_principals)
    return {
        "secretsmanager": Service.of("secretsmanager", (*secrets.ACTIONS, *rotation.ACTIONS), registry),
        "kms": Service.of("kms", actions, registry, kms.KMS_RIGHTS),
    }


@dataclass(kw_only=True)
class Client:
    """Calls a service, Secrets Manager unless another is given, as one principal in one Region; errors are raised, None members are left out."""

    database: Database
    clock: SettableClock
    service: Service = field(default_factory=lambda: services()["secretsmanager"], repr=False)
    principal: Principal = field(default_factory=lambda: accounts.root_principal(ACCOUNT))
    session: Session = field(default_factory=lambda: Session(access_key_id="AKIAEXAMPLE"))
    account_id: AccountId = ACCOUNT
    region: Region = REGION
    records: list[dict[str, Any]] = field(default_factory=list, repr=False)
    """The records that the gate made, oldest first."""
    answers: list[bytes] = field(default_factory=list, repr=False)
    """The bodies that went out."""

    def elsewhere(self, **changes: Any) -> Client:
        """Return a client of the same store that differs in these."""
        return replace(self, **changes)

    def __call__(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation with parameters in the model's names, as an SDK does; blobs are bytes."""
        shape = self.service.contract.operations[operation].model.input_shape
        tokens = (
            ()
            if shape is None
            else (n for n, m in shape.members.items() if m.metadata.get("idempotencyToken"))
        )
        parameters = {**{name: str(uuid.uuid4()) for name in tokens}, **parameters}
        return self.body(operation, json.dumps(parameters, default=as_json).encode())

    def body(self, operation: str, body: bytes) -> dict[str, Any]:
        """Call an operation with a body as it came over the wire."""
        outcome = self.outcome(operation, body)
        if isinstance(outcome, ApiError):
            self.answers.append(self.service.protocol.fault(outcome, "r").body)
            raise outcome
        passage = self.service.passages[operation]
        self.answers.append(self.service.protocol.respond(passage.operation, outcome, "r").body)
        return {name: value for name, value in outcome.items() if value is not None}

    def outcome(self, operation: str, body: bytes) -> Answer | ApiError:
        """Return what the gate lets out: an answer, or an error for the caller."""
        passage = self.service.passages[operation]
        request = self.service.protocol.parse(
            passage.operation, HttpRequest(method="POST", path="/", body=body)
        )
        return self.through(passage, request)

    def through(self, passage: Passage, request: Mapping[str, Any]) -> Answer | ApiError:
        """Pass a parsed request through the gate, in a unit that writes only where the action does."""
        run = self.database.write if passage.action.mutates else self.database.read
        outcome, entries = run(partial(self._pass, passage, request))
        self.records.extend(json.loads(entry) for entry in entries)
        return outcome

    def call(self, operation: str) -> Call:
        """Return a call of this client's, now."""
        return Call(
            principal=self.principal,
            session=self.session,
            account_id=self.account_id,
            region=self.region,
            service=self.service.contract.signing_name,
            action=operation,
            request_id=str(uuid.uuid4()),
            source_ip="192.0.2.7",
            user_agent="tests",
            at=self.clock.now(),
        )

    def _pass(
        self, passage: Passage, request: Mapping[str, Any], unit: Unit
    ) -> tuple[Answer | ApiError, list[bytes]]:
        outcome = pass_through(passage, self.call(passage.action.name), request, unit)
        return outcome, [entry.body for entry in unit.entries]


def passage_of(service: Service, action: Action) -> Passage:
    """Return a passage of the tests' own action under an operation that the model knows."""
    return Passage(action=action, operation=service.contract.operations[action.name])


def refusal(call: Callable[[], object]) -> tuple[str, str]:
    """Return the code and the sentence of the ApiError that a call raises."""
    try:
        call()
    except ApiError as error:
        return error.code, error.message
    raise AssertionError("the call succeeded")
