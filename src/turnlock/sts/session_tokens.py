"""GetSessionToken and GetAccessKeyInfo."""

from __future__ import annotations

from typing import Final

from turnlock.accounts import SessionContext, new_session, store
from turnlock.core.action import Answer, Request
from turnlock.core.call import Call, PrincipalKind
from turnlock.errors import AccessDeniedException, ValidationException
from turnlock.iam import require_right_code
from turnlock.storage import Unit
from turnlock.sts.assuming import credentials_members

_DEFAULT_SECONDS: Final = 43_200
_MOST_OF_ROOT: Final = 3_600
"""Seconds (STS API reference, GetSessionToken)."""


def get_session_token(call: Call, request: Request, unit: Unit) -> Answer:
    """GetSessionToken: temporary credentials of the caller's own, which say so where a code of its MFA device came with it.

    Raises AccessDeniedException for a wrong code and for who has but temporary credentials already.
    """
    if call.session.created_at is not None:
        raise AccessDeniedException("Cannot call GetSessionToken with session credentials")
    seconds = request.get("DurationSeconds", _DEFAULT_SECONDS)
    if call.principal.kind is PrincipalKind.ROOT:
        seconds = min(seconds, _MOST_OF_ROOT)
    proved = require_right_code(call)
    context = SessionContext(kind=call.principal.kind, mfa_at=unit.now if proved else None)
    made = new_session(unit, call.principal, policy=None, seconds=seconds, context=context)
    return {"Credentials": credentials_members(made)}


def get_access_key_info(_call: Call, request: Request, unit: Unit) -> Answer:
    """GetAccessKeyInfo: which account a key belongs to, of whichever account (STS API reference).

    Raises ValidationException for a key that is none.
    """
    key_id = request["AccessKeyId"]
    row = store.find_access_key(unit, key_id) or store.find_session(unit, key_id)
    if row is None:
        raise ValidationException(f"The access key {key_id} cannot be found.")
    return {"Account": row.account_id}
