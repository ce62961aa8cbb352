"""AssumeRoleWithWebIdentity: an unsigned action, for whoever shows a token of a provider that the role's account trusts.

Who calls is known by the token alone. It is believed twice: when the call is admitted, so that nobody is let in or
written into a trail without it, and when the session is made, against the rows of that very transaction.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from turnlock.accounts import Identity
from turnlock.core.action import Answer, ConditionValues, Request, Subject
from turnlock.core.arn import AccountId, Arn
from turnlock.core.call import Call, Principal, PrincipalKind
from turnlock.core.tags import request_tag_keys
from turnlock.errors import (
    AccessDeniedException,
    IDPCommunicationErrorException,
    InvalidIdentityTokenException,
    ValidationException,
)
from turnlock.iam import (
    SOURCE_CLAIM,
    TAGS_CLAIM,
    Claims,
    KeysWanted,
    OidcProvider,
    believe,
    find_provider,
    find_role,
    issuer_of,
)
from turnlock.policies import (
    Condition,
    Effect,
    PrincipalType,
    Quantifier,
    Statement,
    matches,
    read_trust_policy,
)
from turnlock.storage import Unit
from turnlock.sts.assuming import answer_session, read_wish, require_session_rights

ACTION: Final = "AssumeRoleWithWebIdentity"
_DENIED: Final = "Not authorized to perform sts:AssumeRoleWithWebIdentity"


def web_caller(unit: Unit, request: Request) -> Principal:
    """Return who calls AssumeRoleWithWebIdentity, by the token in its request.

    Raises InvalidIdentityTokenException, ExpiredIdentityToken; IDPCommunicationErrorException, which SDKs try again, while
    the provider's keys are being fetched.
    """
    provider, claims = _believed(unit, request)
    return Principal(
        kind=PrincipalKind.WEB_IDENTITY,
        arn=provider.arn,
        account_id=provider.account_id,
        principal_id=f"{provider.arn}:{claims.audiences[0]}:{claims.subject}",
    )


def web_role_subject(_call: Call, request: Request, unit: Unit) -> Subject:
    """Return what the call is about: the role, whose trust policy decides by what the token says."""
    role = find_role(unit, request["RoleArn"])
    return Subject(
        arn=None if role is None else role.arn,
        named=request["RoleArn"],
        policy=None if role is None else role.trust_policy,
        policy_decides=True,
        conditions=lambda: _conditions(unit, request),
    )


def assume_role_with_web_identity(call: Call, request: Request, unit: Unit) -> Answer:
    """AssumeRoleWithWebIdentity: the gate has asked the trust policy; it must say which subjects it is for.

    Raises AccessDeniedException for a role that is not there or whose trust policy leaves the subject open, and what
    `web_caller` and AssumeRole raise.
    """
    if "ProviderId" in request:
        raise ValidationException("ProviderId is for OAuth 2.0 access tokens, which are not taken.")
    provider, claims = _believed(unit, request)
    role = find_role(unit, request["RoleArn"])
    if role is None or not names_subjects(role, provider):
        raise AccessDeniedException(_DENIED)
    asked = {**request, **_from_claims(claims)}
    wish = read_wish(None, asked, unit, role)
    subject = replace(web_role_subject(call, request, unit), conditions=lambda: _conditions(unit, asked))
    require_session_rights(unit, call, asked, wish, subject)
    return {
        **answer_session(unit, role, wish),
        "SubjectFromWebIdentityToken": claims.subject,
        "Provider": provider.issuer,
        "Audience": claims.audiences[0],
    }


def names_subjects(role: Identity, provider: OidcProvider) -> bool:
    """Tell whether every statement that lets a provider's tokens in says which subjects it is for.

    Without it, whoever can get any token of that provider could assume the role: for a provider that serves the public,
    everybody.
    """
    statements = read_trust_policy(role.trust_policy or "").statements
    opening = [one for one in statements if _opens(one, provider)]
    return all(any(_narrows(one, provider) for one in each.conditions) for each in opening)


def _opens(statement: Statement, provider: OidcProvider) -> bool:
    named = any(
        one.type is PrincipalType.ANYONE or (one.type is PrincipalType.FEDERATED and one.name == provider.arn)
        for one in statement.principals
    )
    action = any(matches(text.lower(), f"sts:{ACTION}".lower()) for text in statement.actions.texts)
    return (
        statement.effect is Effect.ALLOW
        and named is not statement.principals_negated
        and action is not statement.actions.negated
    )


_NARROWING: Final = frozenset({"StringEquals", "StringEqualsIgnoreCase", "StringLike"})


def _narrows(condition: Condition, provider: OidcProvider) -> bool:
    return (
        condition.key.lower() == f"{provider.url}:sub".lower()
        and condition.operator in _NARROWING
        and condition.quantifier is not Quantifier.ALL
        and not condition.if_exists
        and not any(set(value) <= {"*", "?"} for value in condition.values)
    )


def _believed(unit: Unit, request: Request) -> tuple[OidcProvider, Claims]:
    token = request["WebIdentityToken"]
    provider = _provider(unit, request["RoleArn"], issuer_of(token))
    claims = None
    if provider.keys is not None:
        claims = believe(
            token, issuer=provider.issuer, client_ids=provider.client_ids, keys=provider.keys, now=unit.now
        )
    if claims is None:
        unit.announce(KeysWanted(account_id=provider.account_id, url=provider.url))
        raise IDPCommunicationErrorException
    return provider, claims


def _provider(unit: Unit, role_arn: str, issuer: str) -> OidcProvider:
    """Return the role's account's provider of an issuer. Raises InvalidIdentityTokenException."""
    try:
        account_id = AccountId(Arn.parse(role_arn).account_id)
    except ValueError:
        raise ValidationException(f"{role_arn} is invalid") from None
    found = None
    if issuer.startswith("https://"):
        found = find_provider(unit, account_id, issuer.removeprefix("https://"))
    if found is None:
        raise InvalidIdentityTokenException(f"No OpenIDConnect provider found in your account for {issuer}")
    return found


def _conditions(unit: Unit, request: Request) -> ConditionValues:
    provider, claims = _believed(unit, request)
    tags = [(tag["Key"], tag["Value"]) for tag in request.get("Tags", ())]
    found = {**claims.keys(provider.url), **request_tag_keys(tags)}
    found["sts:rolesessionname"] = [request["RoleSessionName"]]
    found["aws:federatedprovider"] = [provider.arn]
    if "SourceIdentity" in request:
        found["sts:sourceidentity"] = [request["SourceIdentity"]]
    return found


def _from_claims(claims: Claims) -> dict[str, Any]:
    """Return the session tags and the source identity that a token passes, as AssumeRole's request has them.

    Raises InvalidIdentityTokenException for claims of another form (IAM user guide, "Passing session tags using
    AssumeRoleWithWebIdentity").
    """
    found: dict[str, Any] = {}
    passed = claims.all.get(TAGS_CLAIM)
    if passed is not None:
        if not isinstance(passed, dict) or not isinstance(passed.get("principal_tags"), dict):
            raise InvalidIdentityTokenException("The session tags of the web identity token cannot be read.")
        found["Tags"] = [
            {
                "Key": _short(key, 128),
                "Value": _short(value[0] if isinstance(value, list) and value else value, 256),
            }
            for key, value in passed["principal_tags"].items()
        ]
        found["TransitiveTagKeys"] = [_short(key, 128) for key in passed.get("transitive_tag_keys") or ()]
    source = claims.all.get(SOURCE_CLAIM)
    if source is not None:
        found["SourceIdentity"] = _short(source, 64)
    return found


def _short(value: object, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise InvalidIdentityTokenException("The session tags of the web identity token cannot be read.")
    return value
