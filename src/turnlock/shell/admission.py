"""From an HTTP request to a call: who signed it, for which service and Region, which operation, with which input.

Until the signature is verified nothing of the request is believed, and nothing of it reaches the trail: refused
signatures go to a rate-limited log. From then on every outcome of an operation that is served is recorded, unreadable
input too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import msgspec
import structlog
from msgspec import structs

from turnlock import accounts, sts, wire
from turnlock.core.action import Action, Request
from turnlock.core.arn import Region
from turnlock.core.call import Call, Principal
from turnlock.errors import (
    ApiError,
    ConfigurationError,
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    RequestEntityTooLargeException,
    UnknownOperationException,
)
from turnlock.shell.gate import Passage
from turnlock.storage import Unit
from turnlock.trail import cut_text
from turnlock.wire import Claim, Contract, HttpRequest, HttpResponse, WireProtocol

log = structlog.get_logger(__name__)

READ_AT_ONCE: Final = 1024 * 1024
"""Bytes of a body whose input is read where it was admitted; more of it is read by `read_input`, off the event loop.

Only packages and events of functions are larger.
"""

LARGE: Final = frozenset({("lambda", name) for name in ("CreateFunction", "Invoke", "UpdateFunctionCode")})
"""The operations, by signing name, whose input may be larger. That of any other has no use for so much, and is not parsed."""

PRESIGNABLE: Final[Mapping[str, frozenset[str]]] = MappingProxyType({"sts": frozenset({"GetCallerIdentity"})})
"""The operations, by signing name, that take a signature in the query string: one proves who made it, and does nothing."""

UNSIGNED: Final[Mapping[tuple[str, str], Callable[[Unit, Request], Principal]]] = MappingProxyType(
    {("sts", "AssumeRoleWithWebIdentity"): sts.web_caller}
)
"""The operations that take no signature, by signing name and name, with what tells who calls by the input, or raises."""

_GLOBAL = Region("us-east-1")
GLOBAL_SCOPES: Final[Mapping[tuple[str, str], Region]] = MappingProxyType(
    {
        ("iam", "aws-global"): _GLOBAL,
        ("iam", "us-east-1"): _GLOBAL,
        ("sts", "aws-global"): _GLOBAL,
        ("sts", "us-east-1"): _GLOBAL,
    }
)
"""By signing name and the Region of the scope: what clients of a global endpoint sign, and the Region that it stands for.

botocore signs `aws-global` when that is its Region, older SDKs sign `us-east-1`; neither depends on the Regions served.
"""

GLOBAL_SERVICES: Final = frozenset({"iam"})
"""Services that are in one Region for all: SDKs that are given an endpoint of their own sign theirs all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service of the endpoint: its wire protocol and what it can do."""

    contract: Contract
    protocol: WireProtocol
    passages: Mapping[str, Passage]
    """By operation name; an operation that is absent here is not supported."""

    @classmethod
    def of(
        cls,
        name: str,
        actions: tuple[Action, ...],
        registry: dict[str, Passage] | None = None,
        rights: tuple[Action, ...] = (),
    ) -> Service:
        """Join botocore's model `name` with the functions that carry its operations out.

        The passages are entered into `registry` under their full names, such as `kms:Decrypt`; services that share one can
        call each other for their callers. `rights` are further permissions that an operation needs beside its own: they are
        entered under the name of the permission, where `call.gate.require` finds them, and are no operations.

        Raises ConfigurationError for an action that the model does not know, a name given twice, or a model whose
        protocol is not spoken here.
        """
        contract = Contract.load(name)
        protocol = wire.PROTOCOLS.get(contract.protocol)
        if protocol is None:
            raise ConfigurationError(f"The protocol {contract.protocol} of {name} is not supported.")
        passages: dict[str, Passage] = {}
        beside = {} if registry is None else registry
        for action in actions:
            if action.name not in contract.operations or action.name in passages:
                raise ConfigurationError(f"{name}:{action.name} is unknown to the model, or given twice.")
            operation = contract.operations[action.name]
            passage = Passage(action=action, operation=operation, beside=beside)
            passages[action.name] = beside[f"{contract.signing_name}:{action.name}"] = passage
        for right in rights:
            beside[f"{contract.signing_name}:{right.permission}"] = Passage(
                action=right, operation=contract.operations[right.name], beside=beside
            )
        return cls(contract=contract, protocol=protocol(contract), passages=passages)


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated call. Either it can be carried out, or its input was refused, or is still to be read."""

    call: Call
    service: Service
    passage: Passage
    request: Request | None
    refusal: ApiError | None = None
    unread: HttpRequest | None = None
    """The request whose input `read_input` is to read: one so large that it is not done where others wait."""
    protocol: WireProtocol
    """What writes the answer."""

    def __repr__(self) -> str:
        return f"Admitted({self.call})"


class Admission:
    """Verifies and reads requests for the services of one endpoint."""

    def __init__(self, services: Mapping[str, Service], regions: frozenset[Region]) -> None:
        self._services = services
        """By signing name."""
        self._regions = regions
        self._by_protocol: dict[str, WireProtocol] = {}
        """By the name of a protocol: that of the first service that has it."""
        for service in services.values():
            self._by_protocol.setdefault(service.contract.protocol, service.protocol)
        self._signing_keys = accounts.SigningKeys()

    def admit(self, request: HttpRequest, request_id: str, unit: Unit) -> Admitted:
        """Return the call that a request makes, or raise the ApiError that answers a request without authority."""
        try:
            claim = wire.read_claim(request, allow_presigned=True)
        except MissingAuthenticationTokenException:
            unsigned = self._unsigned(request)
            if unsigned is None:
                raise
            return _admit_unsigned(*unsigned, request, request_id, unit)
        service, region = self._service(claim), self._region(claim)
        if len(request.body) > READ_AT_ONCE and service.contract.protocol != "rest-json":
            raise RequestEntityTooLargeException  # whose operation is in the body, which nobody has signed yet
        _check_presigned(claim, service, request)
        credential = accounts.find_credential(unit, claim.access_key_id, claim.session_token, unit.now)
        key = self._signing_keys.get(
            unit,
            credential,
            date=claim.date,
            region=claim.region,
            service=claim.service,
            derive=lambda secret: wire.signing_key(secret, claim),
        )
        wire.verify(claim, request, key, unit.now)
        accounts.note_use(unit, credential, region=region, service=claim.service)
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
            region=region,
            service=claim.service,
            action=operation.name,
            request_id=request_id,
            source_ip=request.source_ip,
            user_agent=cut_text(request.header("user-agent") or ""),
            secure=request.secure,
            at=unit.now,
        )
        admitted = Admitted(
            call=call,
            service=service,
            passage=passage,
            request=None,
            unread=request,
            protocol=service.protocol.for_request(request),
        )
        if len(request.body) <= READ_AT_ONCE:
            return read_input(admitted)
        if (claim.service, operation.name) in LARGE:
            return admitted
        return structs.replace(admitted, unread=None, refusal=RequestEntityTooLargeException())

    def refusal(self, error: ApiError, request: HttpRequest, request_id: str) -> HttpResponse:
        """Return the answer that refuses a request, in the form of the service that it names, served or not.

        Nothing of the request needs to be true: this is only the form of the answer.
        """
        named = None
        with suppress(ApiError):
            named = wire.read_claim(request, allow_presigned=True).service
        if named is not None and named not in self._services:
            return wire.unserved_refusal(named, error, request, request_id)
        protocol = self._protocol_for(request) if named is None else self._services[named].protocol
        return protocol.for_request(request).fault(error, request_id)

    def _protocol_for(self, request: HttpRequest) -> WireProtocol:
        """Return the protocol that a request looks like which names no service. The first service decides the rest."""
        with suppress(ApiError):
            unsigned = self._unsigned(request)
            if unsigned is not None:
                return unsigned[0].protocol
        default = next(iter(self._by_protocol.values()))
        return self._by_protocol.get("query", default) if _looks_like_query(request) else default

    def _unsigned(self, request: HttpRequest) -> tuple[Service, Passage] | None:
        """Return the operation that a request without a signature names by Action and Version, if it takes none.

        Which those are the models say; for each there is one that tells who calls (`UNSIGNED`).
        """
        if len(request.body) > READ_AT_ONCE or not _looks_like_query(request):
            return None
        for name, action in UNSIGNED:
            service = self._services.get(name)
            with suppress(UnknownOperationException):
                if service is not None and service.protocol.operation(request).name == action:
                    return service, service.passages[action]
        return None

    def _service(self, claim: Claim) -> Service:
        service = self._services.get(claim.service)
        if service is None:
            raise InvalidSignatureException(
                f"Credential should be scoped to correct service: {claim.service!r} is not served."
            )
        return service

    def _region(self, claim: Claim) -> Region:
        region = GLOBAL_SCOPES.get((claim.service, claim.region))
        if region is not None:
            return region
        if claim.region not in self._regions:
            raise InvalidSignatureException("Credential should be scoped to a valid region.")
        return _GLOBAL if claim.service in GLOBAL_SERVICES else Region(claim.region)


def read_input(admitted: Admitted) -> Admitted:
    """Return the call with its input, or with why that is refused. Reads no store."""
    assert admitted.unread is not None
    try:
        parsed = admitted.service.protocol.parse(admitted.passage.operation, admitted.unread)
    except ApiError as error:
        return structs.replace(admitted, unread=None, refusal=error)
    return structs.replace(admitted, unread=None, request=parsed)


def _admit_unsigned(
    service: Service, passage: Passage, request: HttpRequest, request_id: str, unit: Unit
) -> Admitted:
    """Return the call of a request that proves its caller by its input. Before it has, nothing of it is recorded."""
    parsed = service.protocol.parse(passage.operation, request)
    caller = UNSIGNED[(service.contract.signing_name, passage.action.name)](unit, parsed)
    call = Call(
        principal=caller,
        account_id=caller.account_id,
        region=_GLOBAL,
        service=service.contract.signing_name,
        action=passage.action.name,
        request_id=request_id,
        source_ip=request.source_ip,
        user_agent=cut_text(request.header("user-agent") or ""),
        secure=request.secure,
        at=unit.now,
    )
    return Admitted(
        call=call,
        service=service,
        passage=passage,
        request=parsed,
        protocol=service.protocol.for_request(request),
    )


def _check_presigned(claim: Claim, service: Service, request: HttpRequest) -> None:
    """Refuse a signature in the query string unless the operation is one that takes it."""
    if not claim.presigned:
        return
    allowed = PRESIGNABLE.get(claim.service)
    if allowed is None or service.protocol.operation(request).name not in allowed:
        raise IncompleteSignatureException("This action does not accept a signature in the query string.")


def _looks_like_query(request: HttpRequest) -> bool:
    headers = dict(request.headers)
    return "x-amz-target" not in headers and (
        headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        or "&Action=" in f"&{request.query}"
    )


class RefusalLog:
    """Logs requests without authority, or that failed, at most LINES a second: an attacker must not be able to fill the disk."""

    LINES = 5

    def __init__(self) -> None:
        self._second = 0
        self._lines = 0
        self.refused = 0
        """How many were refused since the start, logged or not."""

    def note(self, error: ApiError, request: HttpRequest) -> None:
        """Take note of one refusal; nothing of the request is logged but where it came from."""
        self.refused += 1
        if self._has_line():
            log.warning(
                "a request was refused",
                action="request_refused",
                code=error.code,
                source_ip=request.source_ip,
                refused=self.refused,
            )

    def failed(self, error: Exception, request_id: str) -> None:
        """Take note of a request that ended in an error of ours, whose traceback takes some kilobytes."""
        if self._has_line():
            log.error("a request failed", action="request_failed", request_id=request_id, exc_info=error)

    def _has_line(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        return self._lines <= self.LINES
