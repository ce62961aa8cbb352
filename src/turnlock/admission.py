"""From an HTTP request to a call: who signed it, for which service and Region, which operation, with which input.

Until the signature is verified nothing of the request is believed, and nothing of it reaches the trail: refused
signatures go to a rate-limited log. From then on every outcome is recorded, unreadable input too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from turnlock import identity, wire
from turnlock.core.action import Action, Request
from turnlock.core.arn import Region
from turnlock.core.call import Call
from turnlock.errors import ApiError, ConfigurationError, InvalidSignatureException, UnknownOperationException
from turnlock.gate import Passage
from turnlock.storage import Unit
from turnlock.wire import Claim, Contract, HttpRequest, JsonProtocol, WireProtocol

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service of the endpoint: its wire protocol and what it can do."""

    contract: Contract
    protocol: WireProtocol
    passages: Mapping[str, Passage]
    """By operation name; an operation that is absent here is not supported."""

    @classmethod
    def of(cls, name: str, actions: tuple[Action, ...]) -> Service:
        """Join botocore's model `name` with the functions that carry its operations out.

        Raises ConfigurationError for an action that the model does not know, or a name given twice.
        """
        contract = Contract.load(name)
        passages: dict[str, Passage] = {}
        for action in actions:
            if action.name not in contract.operations or action.name in passages:
                raise ConfigurationError(f"{name}:{action.name} is unknown to the model, or given twice.")
            passages[action.name] = Passage(action=action, operation=contract.operations[action.name])
        return cls(contract=contract, protocol=JsonProtocol(contract), passages=passages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """An authenticated call. Either it can be carried out, or its input was refused."""

    call: Call
    service: Service
    passage: Passage
    request: Request | None
    refusal: ApiError | None = None


class Admission:
    """Verifies and reads requests for the services of one endpoint."""

    def __init__(self, services: Mapping[str, Service], regions: frozenset[Region]) -> None:
        self._services = services
        """By signing name."""
        self._regions = regions
        self._signing_keys = identity.SigningKeys()

    def admit(self, request: HttpRequest, request_id: str, unit: Unit) -> Admitted:
        """Return the call that a request makes, or raise the ApiError that answers a request without authority."""
        claim = wire.read_claim(request)
        service = self._service(claim)
        credential = identity.find_credential(unit, claim.access_key_id, claim.session_token, unit.now)
        key = self._signing_keys.get(
            unit,
            credential,
            date=claim.date,
            region=claim.region,
            service=claim.service,
            derive=lambda secret: wire.signing_key(secret, claim),
        )
        wire.verify(claim, request, key, unit.now)
        operation = service.protocol.operation(request)
        passage = service.passages.get(operation.name)
        if passage is None:
            raise UnknownOperationException(
                f"The operation {operation.name} is not supported by this server."
            )
        call = Call(
            principal=credential.principal,
            session=credential.session,
            account_id=credential.principal.account_id,
            region=Region(claim.region),
            service=claim.service,
            action=operation.name,
            request_id=request_id,
            source_ip=request.source_ip,
            user_agent=request.header("user-agent") or "",
            at=unit.now,
        )
        try:
            return Admitted(
                call=call,
                service=service,
                passage=passage,
                request=service.protocol.parse(operation, request),
            )
        except ApiError as error:
            return Admitted(call=call, service=service, passage=passage, request=None, refusal=error)

    def _service(self, claim: Claim) -> Service:
        service = self._services.get(claim.service)
        if service is None:
            raise InvalidSignatureException(
                f"Credential should be scoped to correct service: {claim.service!r} is not served."
            )
        if claim.region not in self._regions:
            raise InvalidSignatureException("Credential should be scoped to a valid region.")
        return service


class RefusalLog:
    """Logs requests without authority, at most LINES a second: an attacker must not be able to fill the disk."""

    LINES = 5

    def __init__(self) -> None:
        self._second = 0
        self._lines = 0
        self.refused = 0
        """How many were refused since the start, logged or not."""

    def note(self, error: ApiError, request: HttpRequest) -> None:
        """Take note of one refusal; nothing of the request is logged but where it came from."""
        self.refused += 1
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines <= self.LINES:
            log.warning(
                "a request was refused",
                action="request_refused",
                code=error.code,
                source_ip=request.source_ip,
                refused=self.refused,
            )
