"""The one gate: every action is authorised here, carried out, and recorded; no record, no answer.

    1  temporary credentials that carry a fencing number are good only while it is the newest; a code that came with the
       request is judged, and used up or counted as wrong
    2  the subject is found, and `policies.decide` says whether the principal may
    3  the handler runs in the account that the subject is in, inside a savepoint where it may write: what raises leaves
       nothing behind (of 1 it leaves all)
    4  the record is made from what was asked and answered, by the model's redaction, and joins the unit; across accounts
       each of the two gets one

The store makes the record durable with the change (or the journal does, for reads); only then may the answer leave.

An action that does for its caller what other actions do (BatchGetSecretValue reads many secrets) asks `call.gate.nested` for
each: a call of its own by the same caller, that walks 1 to 4 in the same unit and leaves a record of its own. One that
needs more rights than its own (CreateSecret with tags) asks `call.gate.require`: step 2 of another action, and nothing else.
Both go to another service by a full name, such as `kms:Decrypt`. The caller's authority is carried forward there: the
call is still the caller's, and says which service makes it (IAM user guide, "Forward access sessions").
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from msgspec.structs import replace
from sqlalchemy.exc import DBAPIError

from turnlock import accounts, policies
from turnlock.core.action import Action, Answer, Request
from turnlock.core.arn import AccountId
from turnlock.core.call import Call, Gate
from turnlock.errors import (
    AccessDeniedException,
    ApiError,
    ExpiredTokenException,
    SealBroken,
    StaleFence,
    StoreError,
)
from turnlock.storage import Unit
from turnlock.storage.leases import require_current
from turnlock.trail import ApiEvent, api_event
from turnlock.wire import Operation, as_api_error

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One operation with the action that carries it out."""

    action: Action
    operation: Operation
    beside: Mapping[str, Passage] = field(default_factory=dict, repr=False, compare=False)
    """The passages of every service by full name, such as `kms:Decrypt`: where nested calls go."""


def pass_through(
    passage: Passage,
    call: Call,
    request: Request,
    unit: Unit,
    prepared: Callable[[], Any] | None = None,
) -> Answer | ApiError:
    """Return the action's answer, or the error that the caller gets; the unit then holds the record.

    `prepared` returns or raises what came of the action's `prepare`; without it that work is done when it is asked for.
    Raises only what keeps the whole unit from committing: errors of the store.
    """
    outcome: Answer | ApiError
    inside = call
    try:
        _check_fence(call, unit)
        if passage.action.judge is not None:
            inside = call = passage.action.judge(call, request, unit)
        inside = _authorise(passage.action, call, request, unit)
        gate = _gate(passage, inside, unit, prepared or partial(_prepare_now, passage, call, request, unit))
        outcome = _act(passage.action, replace(inside, gate=gate), request, unit)
    except (DBAPIError, StoreError):
        raise
    except Exception as error:
        outcome = as_api_error(error)
        if outcome is not error:
            # Whoever found a broken seal has mostly told of it, with its name; an alarm is told once.
            what = "seal_broken" if isinstance(error, SealBroken) and error.row is None else "action_failed"
            log.exception("an action failed", action=what, operation=call.action, request_id=call.request_id)
    calls = (call,) if inside.account_id == call.account_id else (call, inside)
    _record(passage, calls, request, unit, outcome)
    return outcome


def preparation(passage: Passage, call: Call, request: Request, unit: Unit) -> Callable[[], Any] | None:
    """Return what the action prepares, if it prepares anything and the caller may do this now. Records nothing.

    It only spares work: who may not, or may not any more, is refused and recorded by `pass_through`.
    """
    prepare = passage.action.prepare
    if prepare is None:
        return None
    try:
        _check_fence(call, unit)
        _authorise(passage.action, call, request, unit)
        return prepare(call, request, unit)
    except (DBAPIError, StoreError):
        raise  # also what makes a read begin again on another snapshot
    except Exception:  # noqa: BLE001 (the gate meets it again, and says so)
        return None


def record_refusal(passage: Passage, call: Call, error: ApiError, unit: Unit) -> None:
    """Record a call whose input could not be read: authenticated, refused, and never carried out."""
    event = ApiEvent(
        call=call, request=None, response=None, error=error, read_only=not passage.action.mutates
    )
    unit.record(api_event(event, _event_id(call, unit)))


def _gate(passage: Passage, call: Call, unit: Unit, prepared: Callable[[], Any]) -> Gate:
    nested, require = partial(_nested, passage, call, unit), partial(_require, passage, call, unit)
    if passage.action.prepare is None:
        return Gate(nested=nested, require=require)
    return Gate(nested=nested, require=require, prepared=prepared)


def _nested(passage: Passage, call: Call, unit: Unit, operation: str, request: Request) -> Answer | ApiError:
    """Pass a further call of the same caller through the gate. Its record stands or falls with the outer call's effects."""
    inner, further = _further(passage, call, operation)
    if inner.action.mutates and not unit.writes:
        raise StoreError(f"{operation} changes something, and this unit of work cannot write.")
    return pass_through(inner, further, request, unit)


def _require(passage: Passage, call: Call, unit: Unit, operation: str, request: Request) -> None:
    """Raise AccessDeniedException unless the same caller may do this too; the denial is the outer call's outcome."""
    inner, further = _further(passage, call, operation)
    _authorise(inner.action, further, request, unit)


def _further(passage: Passage, call: Call, operation: str) -> tuple[Passage, Call]:
    """Return where a further call of the same caller goes, and the call: of the same service, or of the one that is named."""
    service, _, name = operation.rpartition(":")
    if service in ("", call.service):
        return passage.beside[f"{call.service}:{name}"], replace(call, action=name)
    through = f"{call.service}.amazonaws.com"
    return passage.beside[operation], replace(call, service=service, action=name, invoked_by=through)


def _prepare_now(passage: Passage, call: Call, request: Request, unit: Unit) -> Any:
    assert passage.action.prepare is not None
    return passage.action.prepare(call, request, unit)()


def _check_fence(call: Call, unit: Unit) -> None:
    if call.session.fence is None:
        return
    try:
        require_current(unit, call.session.fence)
    except StaleFence:
        raise ExpiredTokenException from None


def _authorise(action: Action, call: Call, request: Request, unit: Unit) -> Call:
    """Return the call as it goes on, in the account of its subject. Raises AccessDeniedException."""
    subject = action.subject(call, request, unit)
    decision = policies.decide(call, action, subject, accounts.holdings_of(unit, call.principal), unit.work)
    if isinstance(decision, policies.Denied):
        raise AccessDeniedException(decision.reason)
    owner = policies.account_of(call, subject)
    return call if owner == call.account_id else replace(call, account_id=AccountId(owner))


def _act(action: Action, call: Call, request: Request, unit: Unit) -> Answer | ApiError:
    if not action.mutates:
        return action.handler(call, request, unit)
    with unit.savepoint():
        return action.handler(call, request, unit)


def _record(
    passage: Passage, calls: Sequence[Call], request: Request, unit: Unit, outcome: Answer | ApiError
) -> None:
    """Record a call for its caller's account, and for the account that it was let into, where that is another."""
    error = outcome if isinstance(outcome, ApiError) else None
    answer = None if isinstance(outcome, ApiError) or not passage.action.mutates else outcome
    asked = passage.operation.redact_request(request) or None
    answered = None if answer is None else passage.operation.redact_answer(answer) or None
    shared_id = _event_id(calls[0], unit, "shared") if len(calls) > 1 else None
    for call in calls:
        event = ApiEvent(
            call=call,
            request=asked,
            response=answered,
            error=error,
            read_only=not passage.action.mutates,
            shared_id=shared_id,
        )
        unit.record(api_event(event, _event_id(call, unit)))


def _event_id(call: Call, unit: Unit, use: str = "") -> bytes:
    """Return the id of the unit's next record: as unique as the request's, and the same when the unit is run again."""
    place = f"{call.request_id}/{len(unit.entries)}{use}"
    return hashlib.blake2b(place.encode(), digest_size=16).digest()
