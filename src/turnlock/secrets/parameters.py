"""Reading members of requests that several actions have."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from turnlock import kms
from turnlock.core.action import Request
from turnlock.core.call import Call
from turnlock.core.tags import TagRules
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


def _check_tag(key: str, value: str) -> None:
    if not key:
        raise InvalidParameterException("A tag must have a Key.")
    check_text("Tags", key + value)


TAGS: Final = TagRules(
    most=MOST_TAGS,
    too_many=lambda: InvalidParameterException(f"A secret can have at most {MOST_TAGS} tags."),
    is_reserved=lambda: InvalidParameterException("Tag keys that start with aws: are reserved."),
    duplicate=lambda: InvalidParameterException("Duplicate tag keys are not allowed."),
    check=_check_tag,
)
"""The tags of secrets."""
