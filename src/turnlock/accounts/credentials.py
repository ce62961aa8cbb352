"""Access keys and role sessions: making them, finding them for a request, ending them.

Each row has a MAC, and each secret access key is sealed for its principal and for what its row says: who changes a session's
policy or expiry, or activates a key, in the store is left with a row that is no credential.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from turnlock import kms
from turnlock.accounts import store
from turnlock.accounts.drawn import draw_key_id, draw_secret
from turnlock.accounts.entities import store as iam
from turnlock.accounts.entities.holdings import holdings_of
from turnlock.accounts.entities.model import Kind
from turnlock.accounts.model import Credential, NewCredentials, role_session, root_principal
from turnlock.accounts.session_context import SessionContext
from turnlock.accounts.store import AccessKeyRow, SessionRow
from turnlock.core.arn import AccountId
from turnlock.core.call import Fence, Principal, PrincipalKind, Session
from turnlock.core.credentials import TemporaryCredentials
from turnlock.errors import (
    ConfigurationError,
    ExpiredTokenException,
    UnrecognizedClientException,
    ValidationException,
)
from turnlock.root_keys import associated_data
from turnlock.storage import Unit, micros

TOKEN_BYTES: Final = 48
"""Random bytes of a session token (384 bits)."""

KEPT_AFTER_EXPIRY: Final = timedelta(days=1)
"""How long an expired session is kept, so that its holder learns that it expired and not that it never was."""

_ACCESS_KEY_ID = re.compile(r"(AKIA|ASIA)[A-Z2-7]{16}")
_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")


def create_account(unit: Unit, account_id: AccountId) -> NewCredentials:
    """Make an account with its root user, and return the root user's new access key.

    Raises ConfigurationError when the account exists.
    """
    if not store.insert_account(unit, account_id):
        raise ConfigurationError(f"The account {account_id} exists already.")
    root = root_principal(account_id)
    return new_access_key(unit, account_id, arn=root.arn, principal_id=root.principal_id)


def new_access_key(unit: Unit, account_id: AccountId, *, arn: str, principal_id: str) -> NewCredentials:
    """Make a long-term access key of a user or of the root user; its secret is shown this once."""
    credentials = NewCredentials(
        access_key_id=draw_key_id(unit.entropy, "AKIA"), secret_access_key=draw_secret(unit.entropy)
    )
    row = AccessKeyRow(
        account_id=account_id,
        access_key_id=credentials.access_key_id,
        principal_arn=arn,
        principal_id=principal_id,
        active=True,
        sealed_secret=b"",
        created_at=unit.now,
    )
    sealed = _seal(unit, account_id, credentials.secret_access_key, owner=arn, part=_access_key_part(row))
    store.insert_access_key(unit, replace(row, sealed_secret=sealed))
    return credentials


def accounts(unit: Unit) -> list[AccountId]:
    """Return the ids of all accounts, sorted."""
    return store.account_ids(unit)


def find_credential(unit: Unit, access_key_id: str, session_token: str | None, now: datetime) -> Credential:
    """Return whose authority a request claims; the signature is still to be verified under its secret.

    Raises UnrecognizedClientException for a key that is unknown, inactive or of an identity that is gone, and for a token that is wrong, missing, or
    sent with a long-term key; ExpiredTokenException for a session that is over at `now`, if the token is its own.
    """
    form = _ACCESS_KEY_ID.fullmatch(access_key_id)
    if form is None:
        raise UnrecognizedClientException
    return _FINDERS[form[1]](unit, access_key_id, session_token, now)


def issue_session(
    unit: Unit,
    *,
    account_id: AccountId,
    role_name: str,
    session_name: str,
    policy: str | None,
    seconds: int,
    fence: Fence | None,
) -> TemporaryCredentials:
    """Make a hosted function's session of `seconds` from now: no role stands behind it, `policy` is all its authority.

    With a fence, its holder's changes count only while that fencing number is the newest. Raises ValidationException
    when a name, the time or the fence's account is none that a session can have.
    """
    _check_session(account_id, role_name, session_name, seconds, fence)
    principal = role_session(
        account_id, role_name=role_name, role_id=_role_id(account_id, role_name), session_name=session_name
    )
    return new_session(unit, principal, policy=policy, seconds=seconds, fence=fence, context=None)


def new_session(
    unit: Unit,
    principal: Principal,
    *,
    policy: str | None,
    seconds: int,
    fence: Fence | None = None,
    context: SessionContext | None,
) -> TemporaryCredentials:
    """Make temporary credentials of a principal, of `seconds` from now; the caller has checked that they may be had."""
    token = base64.urlsafe_b64encode(unit.entropy.bytes(TOKEN_BYTES)).decode()
    credentials = TemporaryCredentials(
        access_key_id=draw_key_id(unit.entropy, "ASIA"),
        secret_access_key=draw_secret(unit.entropy),
        session_token=token,
        expires_at=unit.now + timedelta(seconds=seconds),
    )
    row = SessionRow(
        account_id=principal.account_id,
        access_key_id=credentials.access_key_id,
        principal_arn=principal.arn,
        principal_id=principal.principal_id,
        token_digest=_digest(token),
        policy=policy,
        issued_at=unit.now,
        expires_at=credentials.expires_at,
        fence=fence,
        context=None if context is None else context.encoded(),
    )
    secret = credentials.secret_access_key
    sealed = _seal(unit, principal.account_id, secret, owner=principal.arn, part=_session_part(row))
    store.insert_session(unit, replace(row, sealed_secret=sealed))
    return credentials


def refence(unit: Unit, access_key_id: str, fence: Fence) -> None:
    """Give a session, whose process serves another rotation now, the fence of that rotation's lease.

    Raises UnrecognizedClientException when the fence's account has no such session.
    """
    if not store.update_fence(unit, access_key_id, fence):
        raise UnrecognizedClientException


def end_session(unit: Unit, access_key_id: str) -> None:
    """End a session now; one that is gone already is no error."""
    store.delete_session(unit, access_key_id)


def purge_expired(unit: Unit) -> int:
    """Delete the sessions that expired KEPT_AFTER_EXPIRY ago or earlier; return how many."""
    return store.delete_sessions_expired_by(unit, unit.now - KEPT_AFTER_EXPIRY)


def unseal_secret(unit: Unit, credential: Credential) -> str:
    """Return a credential's secret access key. Raises SealBroken when its row is not the one that was stored."""
    account_id = credential.principal.account_id
    return kms.unseal_field(
        unit, account_id, credential.sealed_secret, owner=credential.sealed_for, part=credential.part
    ).decode()


def _long_term(unit: Unit, access_key_id: str, session_token: str | None, _now: datetime) -> Credential:
    if session_token is not None:
        raise UnrecognizedClientException
    return unit.derived(("credential", access_key_id), lambda: _read_long_term(unit, access_key_id))


def _read_long_term(unit: Unit, access_key_id: str) -> Credential:
    row = store.find_access_key(unit, access_key_id)
    if row is None or not row.active:
        raise UnrecognizedClientException
    return Credential(
        principal=_owner(unit, row.account_id, row.principal_arn, row.principal_id),
        session=Session(access_key_id=access_key_id),
        sealed_secret=row.sealed_secret,
        sealed_for=row.principal_arn,
        part=_access_key_part(row),
        last_used=row.last_used,
    )


def _owner(unit: Unit, account_id: AccountId, arn: str, principal_id: str) -> Principal:
    """Return who a long-term key, or a session got with one, belongs to: the root user, or a user under today's name."""
    root = root_principal(account_id)
    if (arn, principal_id) == (root.arn, root.principal_id):
        return root
    user = iam.held_identities(unit, account_id, principal_id).get(principal_id)
    if user is None or user.kind is not Kind.USER:
        raise UnrecognizedClientException
    return Principal(kind=PrincipalKind.USER, arn=user.arn, account_id=account_id, principal_id=principal_id)


def _temporary(unit: Unit, access_key_id: str, session_token: str | None, now: datetime) -> Credential:
    row = store.find_session(unit, access_key_id)
    if (
        row is None
        or session_token is None
        or not hmac.compare_digest(_digest(session_token), row.token_digest)
    ):
        raise UnrecognizedClientException
    if row.expires_at <= now:
        raise ExpiredTokenException
    context = unit.derived(("session context", row.context), lambda: SessionContext.read(row.context))
    return Credential(
        principal=_session_principal(unit, row, context),
        session=Session(
            access_key_id=access_key_id,
            created_at=row.issued_at,
            mfa_authenticated=context.mfa_at is not None,
            policy=row.policy,
            managed_policies=context.managed_policies,
            tags=context.tags,
            hosted=context.hosted,
            source_identity=context.source_identity,
            mfa_at=context.mfa_at,
            transitive_tags=context.transitive_tags,
            fence=row.fence,
        ),
        sealed_secret=row.sealed_secret,
        sealed_for=row.principal_arn,
        part=_session_part(row),
    )


def _session_principal(unit: Unit, row: SessionRow, context: SessionContext) -> Principal:
    if context.kind is not PrincipalKind.ASSUMED_ROLE:
        return _owner(unit, row.account_id, row.principal_arn, row.principal_id)
    session = Principal(
        kind=PrincipalKind.ASSUMED_ROLE,
        arn=row.principal_arn,
        account_id=row.account_id,
        principal_id=row.principal_id,
    )
    # A role that is gone takes its denials and its boundary along: a resource's policy alone must not go on deciding.
    if not context.hosted and holdings_of(unit, session).role_arn is None:
        raise UnrecognizedClientException
    return session


_FINDERS: Final[dict[str, Callable[[Unit, str, str | None, datetime], Credential]]] = {
    "AKIA": _long_term,
    "ASIA": _temporary,
}
"""By the prefix of an access key id (IAM user guide, "Unique identifiers")."""


def _access_key_part(row: AccessKeyRow) -> str:
    return f"access-key/{row.access_key_id}/{row.principal_id}"


def _session_part(row: SessionRow) -> str:
    covered = associated_data(
        row.principal_id,
        row.token_digest,
        str(micros(row.issued_at)),
        str(micros(row.expires_at)),
        *(() if row.policy is None else (row.policy,)),
        *(() if row.context is None else ("context", row.context)),
    )
    return f"session/{row.access_key_id}/{hashlib.sha256(covered).hexdigest()}"


def _seal(unit: Unit, account_id: AccountId, secret: str, *, owner: str, part: str) -> bytes:
    return kms.seal_field(unit, account_id, secret.encode(), owner=owner, part=part)


def _check_session(
    account_id: AccountId, role_name: str, session_name: str, seconds: int, fence: Fence | None
) -> None:
    if not (_NAME.fullmatch(role_name) and _NAME.fullmatch(session_name)):
        raise ValidationException("A role or a session name has 2 to 64 letters, digits, or any of _+=,.@-")
    if seconds <= 0:
        raise ValidationException("A session lasts at least one second.")
    if fence is not None and fence.account_id != account_id:
        raise ValidationException("A session's fence belongs to its own account.")


def _role_id(account_id: AccountId, role_name: str) -> str:
    """Return the unique id of a hosted function's role; made from its name, because it has no row."""
    digest = hashlib.sha256(f"{account_id}/{role_name}".encode()).digest()
    return "AROA" + base64.b32encode(digest).decode()[:17]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
