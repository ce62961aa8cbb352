"""CreateGrant, ListGrants, ListRetirableGrants, RetireGrant and RevokeGrant.

A grant is effective at once. At AWS that takes minutes, which grant tokens bridge; here tokens are issued and checked,
and never needed.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from turnlock.core.action import Answer, Request, Subject
from turnlock.core.arn import Arn
from turnlock.core.call import Call
from turnlock.errors import (
    AccessDeniedException,
    DryRunOperationException,
    InvalidArnException,
    InvalidGrantIdException,
    InvalidGrantTokenException,
    LimitExceededException,
    NotFoundException,
    ValidationException,
)
from turnlock.kms.cryptography.specs import SPECS
from turnlock.kms.grants.store import (
    Grant,
    GrantTerms,
    delete_grant,
    grants_of,
    insert_grant,
    retirable_grants,
    stands_for,
)
from turnlock.kms.key_policies.api import Principals
from turnlock.kms.lookup import DEFAULT_LIMIT, GRANTED, PAGES, require_lasting
from turnlock.kms.model import SYMMETRIC, KmsKey
from turnlock.root_keys import associated_data
from turnlock.storage import Unit

MOST_GRANTS: Final = 50_000
"""Grants on one key (KMS developer guide, "Resource quotas")."""

_MAC_BYTES: Final = 16


def create_grant(principals: Principals, call: Call, request: Request, unit: Unit) -> Answer:
    """CreateGrant; with the same Name and terms again it returns the existing grant.

    Raises ValidationException for operations that the key does not have, InvalidArnException for what is no principal.
    """
    key = GRANTED.require(call, request, unit)
    require_lasting(key)
    terms = _terms(call, request, key)
    terms = _saved(principals, unit, terms)
    if request.get("DryRun", False):
        raise DryRunOperationException
    present = grants_of(unit, key)
    if terms.name is not None:
        for grant in present:
            if grant.terms == terms:
                return _answer(unit, grant)
    if len(present) >= MOST_GRANTS:
        raise LimitExceededException(f"A key can have at most {MOST_GRANTS} grants.")
    grant = Grant(
        account_id=key.account_id,
        region=key.region,
        key_id=key.key_id,
        grant_id=unit.entropy.bytes(32).hex(),
        terms=terms,
        created_at=unit.now,
    )
    insert_grant(unit, grant)
    return _answer(unit, grant)


def list_grants(principals: Principals, call: Call, request: Request, unit: Unit) -> Answer:
    """ListGrants: of one key, of one grantee or with one id where that is asked."""
    key = GRANTED.require(call, request, unit)
    grantee = request.get("GranteePrincipal")
    # An id that a list showed, of a principal that is gone, finds its grants too.
    wanted = None if grantee is None else {grantee, _saved_or_not(principals, unit, grantee)}
    found = [
        grant
        for grant in grants_of(unit, key)
        if request.get("GrantId", grant.grant_id) == grant.grant_id
        and (wanted is None or grant.terms.grantee in wanted)
    ]
    return _page(principals, call, request, unit, found)


def list_retirable_grants(principals: Principals, call: Call, request: Request, unit: Unit) -> Answer:
    """ListRetirableGrants: the grants that a principal of the caller's account may retire, on keys of any account."""
    principal = request.get("RetiringPrincipal", "")
    if _account_of(principal) != call.account_id:
        raise NotFoundException("Only grants that principals of your own account may retire are listed.")
    saved = _saved_or_not(principals, unit, principal)
    return _page(principals, call, request, unit, retirable_grants(unit, call.region, saved))


def revoke_grant(call: Call, request: Request, unit: Unit) -> Answer:
    """RevokeGrant: the grant has no effect from the next request on. Raises NotFoundException."""
    key = GRANTED.require(call, request, unit)
    grant = _find(unit, key, request["GrantId"])
    if request.get("DryRun", False):
        raise DryRunOperationException
    delete_grant(unit, grant)
    return {}


def retire_grant(call: Call, request: Request, unit: Unit) -> Answer:
    """RetireGrant, by the grant's token or by key and id.

    The retiring principal may, the grantee where the grant has RetireGrant, and the root user of the key's account;
    policies do not give this right here. Raises NotFoundException, InvalidGrantTokenException.
    """
    grant = _named(call, request, unit)
    if not _may_retire(call, grant):
        raise AccessDeniedException(
            f"User: {call.principal.arn} is not authorized to perform: kms:RetireGrant on this grant"
        )
    if request.get("DryRun", False):
        raise DryRunOperationException
    delete_grant(unit, grant)
    return {}


def retiring_subject(_call: Call, _request: Request, _unit: Unit) -> Subject:
    """Return RetireGrant's subject: the grant decides who may, not policies."""
    return Subject(arn=None, named="*", policy_decides=True, granted=lambda _principal: True)


def check_tokens(request: Request, unit: Unit) -> None:
    """Raise InvalidGrantTokenException unless each grant token of a request is one that this server gave."""
    for token in request.get("GrantTokens", ()):
        read_token(unit, token)


def read_token(unit: Unit, token: str) -> tuple[str, str]:
    """Return (key ARN, grant id) of a grant token. Raises InvalidGrantTokenException."""
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii"))
        key_arn, grant_id = raw[_MAC_BYTES:].decode("ascii").split(" ")
    except (ValueError, binascii.Error):
        raise InvalidGrantTokenException from None
    if not hmac.compare_digest(raw[:_MAC_BYTES], _token_mac(unit, key_arn, grant_id)):
        raise InvalidGrantTokenException
    return key_arn, grant_id


def _token_mac(unit: Unit, key_arn: str, grant_id: str) -> bytes:
    return unit.keyring.mac("kms-grant-token", associated_data(key_arn, grant_id))[:_MAC_BYTES]


def _answer(unit: Unit, grant: Grant) -> Answer:
    key_arn = f"{Arn('aws', 'kms', grant.region, grant.account_id, f'key/{grant.key_id}')}"
    body = f"{key_arn} {grant.grant_id}".encode("ascii")
    token = base64.urlsafe_b64encode(_token_mac(unit, key_arn, grant.grant_id) + body).decode()
    return {"GrantToken": token, "GrantId": grant.grant_id}


def _terms(call: Call, request: Request, key: KmsKey) -> GrantTerms:
    grantee, retiring = request.get("GranteePrincipal"), request.get("RetiringPrincipal")
    if grantee is None:
        raise ValidationException("GranteePrincipal is required: grants to services are not supported.")
    for principal in (grantee, *(() if retiring is None else (retiring,))):
        _account_of(principal)
    operations = tuple(dict.fromkeys(request["Operations"]))
    if excess := sorted(set(operations) - _operations(key)):
        raise ValidationException(f"The key does not have these operations: {', '.join(excess)}")
    constraints = request.get("Constraints", {})
    if "SourceArn" in constraints:
        raise ValidationException("Constraints by SourceArn are not supported by this server.")
    if constraints and key.spec != SYMMETRIC:
        raise ValidationException("Only grants on symmetric encryption keys can have constraints.")
    return GrantTerms(
        grantee=grantee,
        operations=operations,
        issuer=call.principal.account_id,
        retiring=retiring,
        name=request.get("Name"),
        context_equals=constraints.get("EncryptionContextEquals"),
        context_subset=constraints.get("EncryptionContextSubset"),
    )


def _operations(key: KmsKey) -> set[str]:
    """Return the operations that a grant on this key can give (KMS developer guide, "Grant operations")."""
    by_usage = {
        "ENCRYPT_DECRYPT": {"Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo"},
        "SIGN_VERIFY": {"Sign", "Verify"},
        "GENERATE_VERIFY_MAC": {"GenerateMac", "VerifyMac"},
    }
    found = {"CreateGrant", "RetireGrant", "DescribeKey"} | by_usage[key.usage.value]
    if key.spec == SYMMETRIC:
        pairs = {"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"}
        found |= {"GenerateDataKey", "GenerateDataKeyWithoutPlaintext"} | pairs
    if SPECS[key.spec].asymmetric:
        found.add("GetPublicKey")
    return found


def _account_of(principal: str) -> str:
    """Return a principal's account. Raises InvalidArnException for what is no principal."""
    try:
        arn = Arn.parse(principal)
    except ValueError:
        raise InvalidArnException(f"{principal} is not a valid principal ARN") from None
    if arn.service not in {"iam", "sts"} or arn.region or not arn.account_id:
        raise InvalidArnException(f"{principal} is not a valid principal ARN")
    return arn.account_id


def _named(call: Call, request: Request, unit: Unit) -> Grant:
    """Return the grant that RetireGrant names."""
    if "GrantToken" in request:
        key_arn, grant_id = read_token(unit, request["GrantToken"])
    elif "KeyId" in request and "GrantId" in request:
        key_arn, grant_id = request["KeyId"], request["GrantId"]
    else:
        raise ValidationException("Give a GrantToken, or KeyId and GrantId.")
    return _find(unit, GRANTED.require(call, {"KeyId": key_arn}, unit), grant_id)


def _find(unit: Unit, key: KmsKey, grant_id: str) -> Grant:
    if len(grant_id) != 64:
        raise InvalidGrantIdException
    for grant in grants_of(unit, key):
        if grant.grant_id == grant_id:
            return grant
    raise NotFoundException(f"Grant {grant_id} is not found.")


def _may_retire(call: Call, grant: Grant) -> bool:
    principal, terms = call.principal, grant.terms
    if terms.retiring is not None and stands_for(terms.retiring, principal):
        return True
    if "RetireGrant" in terms.operations and stands_for(terms.grantee, principal):
        return True
    return principal.arn == f"arn:aws:iam::{grant.account_id}:root"


def _saved(principals: Principals, unit: Unit, terms: GrantTerms) -> GrantTerms:
    """Return a grant's terms as they are kept. Raises InvalidArnException for a principal that is not there."""
    try:
        retiring = None if terms.retiring is None else principals.saved_name(unit, terms.retiring)
        return replace(terms, grantee=principals.saved_name(unit, terms.grantee), retiring=retiring)
    except ValueError:
        raise InvalidArnException("ARN does not refer to a valid principal") from None


def _saved_or_not(principals: Principals, unit: Unit, arn: str) -> str:
    try:
        return principals.saved_name(unit, arn)
    except ValueError:
        return arn


def _page(principals: Principals, call: Call, request: Request, unit: Unit, found: list[Grant]) -> Answer:
    answer = PAGES.page(
        request, found, lambda grant: grant.grant_id, "Grants", lambda grant: grant, default=DEFAULT_LIMIT
    )
    names = {
        name for grant in answer["Grants"] for name in (grant.terms.grantee, grant.terms.retiring) if name
    }
    shown = principals.shown_names(unit, call.account_id, names)
    return {**answer, "Grants": [_entry(grant, shown) for grant in answer["Grants"]]}


def _entry(grant: Grant, shown: Mapping[str, str]) -> dict[str, Any]:
    terms = grant.terms
    constraints = {
        "EncryptionContextEquals": terms.context_equals,
        "EncryptionContextSubset": terms.context_subset,
    }
    given = {name: value for name, value in constraints.items() if value is not None}
    return {
        "KeyId": f"arn:aws:kms:{grant.region}:{grant.account_id}:key/{grant.key_id}",
        "GrantId": grant.grant_id,
        "Name": terms.name,
        "CreationDate": grant.created_at,
        "GranteePrincipal": shown.get(terms.grantee, terms.grantee),
        "RetiringPrincipal": shown.get(terms.retiring or "", terms.retiring),
        "IssuingAccount": f"arn:aws:iam::{terms.issuer}:root",
        "Operations": list(terms.operations),
        "Constraints": given or None,
    }
