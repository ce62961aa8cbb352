"""Reading members of requests that several actions have."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from turnlock import kms
from turnlock.core.action import Request
from turnlock.core.call import Call
from turnlock.errors import InvalidParameterException, InvalidRequestException
from turnlock.secrets.model import MOST_TAGS, check_text
from turnlock.storage import Unit

MEMBERS_NOT_YET: Final[Mapping[str, str]] = MappingProxyType(
    {"CrossAccountPrimaryARN": "Replication between accounts"}
)
"""Member of CreateSecret → what it would ask for. Ignoring it would make another secret than was asked for."""


def refuse_members(request: Request) -> None:
    """Raise InvalidParameterException for a member in MEMBERS_NOT_YET."""
    for member, thing in MEMBERS_NOT_YET.items():
        if member in request:
            raise InvalidParameterException(f"{member}: {thing} is not supported by this server yet.")


def require_token(
    request: Request,
    refusal: type[InvalidRequestException | InvalidParameterException] = InvalidRequestException,
) -> str:
    """Return the request's ClientRequestToken, which becomes a version's id. SDKs generate one.

    Raises `refusal` where it is absent: RotateSecret has another error than the rest. It is checked before the secret
    is looked for.
    """
    token = request.get("ClientRequestToken")
    if token is None:
        raise refusal("You must provide a ClientRequestToken value. We recommend a UUID-type value.")
    check_text("ClientRequestToken", token)
    return str(token)


def customer_key(call: Call, request: Request, unit: Unit) -> str | None:
    """Return the KMS key of the request; None for aws/secretsmanager in any spelling.

    The key must exist, even when there is no value to seal: raises as `kms.resolve_key` does.
    """
    given = request.get("KmsKeyId")
    if given in (None, "", "aws/secretsmanager"):
        return None
    check_text("KmsKeyId", given)
    key = kms.resolve_key(unit, call.account_id, call.region, given)
    return None if key.owner is kms.KeyOwner.AWS else str(given)


def tags_in(request: Request) -> dict[str, str]:
    """Return the tags of a request. Raises InvalidParameterException for what no secret can have."""
    tags: dict[str, str] = {}
    for tag in request.get("Tags", ()):
        key, value = tag.get("Key"), tag.get("Value", "")
        if key is None:
            raise InvalidParameterException("A tag must have a Key.")
        if key in tags:
            raise InvalidParameterException("Duplicate tag keys are not allowed.")
        refuse_reserved(key)
        check_text("Tags", key + value)
        tags[key] = value
    check_tag_count(len(tags))
    return tags


def refuse_reserved(tag_key: str) -> None:
    """Raise InvalidParameterException for a tag key that only AWS's services may write or remove."""
    if tag_key.lower().startswith("aws:"):
        raise InvalidParameterException("Tag keys that start with aws: are reserved.")


def check_tag_count(count: int) -> None:
    """Raise InvalidParameterException beyond the quota."""
    if count > MOST_TAGS:
        raise InvalidParameterException(f"A secret can have at most {MOST_TAGS} tags.")
