"""Web identity tokens: JSON Web Tokens (RFC 7519) of the providers that an account trusts.

A token is believed when all of these hold:

    1  its issuer is a provider of the account
    2  its algorithm is one of ALGORITHMS, and the key that it names is one of the provider's, of the algorithm's kind and size
    3  the signature holds under that key
    4  it is for a client id of the provider (`azp` before `aud`)
    5  it has not expired, and was not made for a later time; SKEW is what clocks may differ
    6  it names a subject

Pure: the provider's keys are given, nothing is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from turnlock.core.half_pairs import holds_half_pairs
from turnlock.errors import ExpiredIdentityToken, InvalidIdentityTokenException

ALGORITHMS: Final[Mapping[str, tuple[str, str | None]]] = MappingProxyType(
    {
        "RS256": ("RSA", None),
        "RS384": ("RSA", None),
        "RS512": ("RSA", None),
        "ES256": ("EC", "P-256"),
        "ES384": ("EC", "P-384"),
        "ES512": ("EC", "P-521"),
    }
)
"""By name (RFC 7518): the key's type and curve. None of them is symmetric, and `none` is not among them."""

SKEW: Final = timedelta(minutes=5)
SHORTEST_RSA: Final = 2_048
"""Bits."""
TAGS_CLAIM: Final = "https://aws.amazon.com/tags"
SOURCE_CLAIM: Final = "https://aws.amazon.com/source_identity"

_NOT_VALID: Final = "The web identity token that was passed could not be validated by the identity provider."


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a believed token says."""

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    all: Mapping[str, Any] = field(repr=False)

    def keys(self, url: str) -> dict[str, list[str]]:
        """Return the condition keys of the token; `url` is the provider's address without its scheme."""
        found = {f"{url}:sub": [self.subject], f"{url}:aud": list(self.audiences)}
        if "azp" in self.all:
            found[f"{url}:oaud"] = _texts(self.all.get("aud"))
        for name in ("amr", "email"):
            if name in self.all:
                found[f"{url}:{name}"] = _texts(self.all[name])
        return {key.lower(): values for key, values in found.items()}


def issuer_of(token: str) -> str:
    """Return the issuer that a token names; nothing of it is believed. Raises InvalidIdentityTokenException."""
    return str(_unproved(token).get("iss", ""))


def key_id_of(token: str) -> str | None:
    """Return the name of the key that a token says to be signed with, None where it names none."""
    return _header(token).get("kid")


def believe(token: str, *, issuer: str, client_ids: Sequence[str], keys: str, now: datetime) -> Claims | None:
    """Return what a token of a provider says; None when it names a key that is not among `keys` (a JWK Set, JSON).

    Raises InvalidIdentityTokenException, ExpiredIdentityToken.
    """
    header = _header(token)
    algorithm = str(header.get("alg"))
    if algorithm not in ALGORITHMS:
        raise InvalidIdentityTokenException("The algorithm of the web identity token is not supported.")
    key = _key(keys, algorithm, header.get("kid"))
    if key is None:
        return None
    try:
        # Times are checked below, by the injected clock; the audience by AWS's rule.
        claims = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=issuer,
            options={
                "require": ["exp", "iss", "sub", "aud"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": False,
            },
        )
    except jwt.PyJWTError:
        raise InvalidIdentityTokenException(_NOT_VALID) from None
    _check_times(_encodable(claims), now)
    audiences = tuple(_texts(claims["azp"] if "azp" in claims else claims["aud"]))
    if not audiences or not set(audiences) & set(client_ids):
        raise InvalidIdentityTokenException("Incorrect token audience")
    if not isinstance(claims["sub"], str) or not claims["sub"]:
        raise InvalidIdentityTokenException(_NOT_VALID)
    return Claims(issuer=issuer, subject=claims["sub"], audiences=audiences, all=claims)


def read_keys(text: bytes) -> str:
    """Return a JWK Set as it is stored. Raises ValueError for a text that is none, or has no key of use."""
    try:
        raw = json.loads(text)
        jwt.PyJWKSet.from_dict(raw)
    except (ValueError, AttributeError, TypeError, RecursionError, jwt.PyJWTError):
        raise ValueError("It is no key set, or has no key of use.") from None
    return json.dumps(raw, separators=(",", ":"))


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    times = [claims["exp"], *(claims[name] for name in ("nbf", "iat") if name in claims)]
    if not all(isinstance(time, int | float) and not isinstance(time, bool) for time in times):
        raise InvalidIdentityTokenException(_NOT_VALID)
    if times[0] <= now.timestamp():
        raise ExpiredIdentityToken
    if any(time > (now + SKEW).timestamp() for time in times[1:]):
        raise InvalidIdentityTokenException("The web identity token that was passed is for a later time.")


def _key(keys: str, algorithm: str, key_id: str | None) -> Any:
    """Return the key that verifies; None where none of this name is there. Raises InvalidIdentityTokenException."""
    kind, curve = ALGORITHMS[algorithm]
    found = [
        raw
        for raw in json.loads(keys).get("keys", ())
        if raw.get("kty") == kind
        and raw.get("crv") == curve
        and raw.get("use", "sig") == "sig"
        and raw.get("alg", algorithm) == algorithm
        and (key_id is None or raw.get("kid") == key_id)
    ]
    if len(found) != 1:
        # Without a name it must be the only one: no key is tried on the chance that it fits.
        return None
    try:
        key = jwt.PyJWK.from_dict(found[0], algorithm).key
    except jwt.PyJWTError:
        raise InvalidIdentityTokenException(_NOT_VALID) from None
    if isinstance(key, RSAPublicKey) and key.key_size < SHORTEST_RSA:
        raise InvalidIdentityTokenException("The key of the web identity token is too short.")
    return key


def _header(token: str) -> dict[str, Any]:
    try:
        return _encodable(jwt.get_unverified_header(token))
    except jwt.PyJWTError:
        raise InvalidIdentityTokenException(_NOT_VALID) from None


def _unproved(token: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise InvalidIdentityTokenException(_NOT_VALID) from None
    return _encodable(claims)


def _encodable(found: dict[str, Any]) -> dict[str, Any]:
    """Return what a token holds. Raises InvalidIdentityTokenException for a text that cannot be looked up, kept or logged."""
    if holds_half_pairs(found):
        raise InvalidIdentityTokenException(_NOT_VALID)
    return found


def _texts(value: object) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    return [one for one in listed if isinstance(one, str)]
