"""Managed external secrets: credentials that a third party holds (user guide, "Managed external secrets").

They are stored, shown and read like any other. Only the partner's service can rotate them, and this server does not
reach it: RotateSecret refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from turnlock.core.action import Request
from turnlock.core.arn import Arn
from turnlock.errors import InvalidParameterException, InvalidRequestException
from turnlock.secrets.model import Secret, check_text


def secret_type_in(request: Request) -> str | None:
    """Return the partner's type in a request, None when it has none or it is empty.

    Any text of at most 256 characters: AWS's list of partners grows, and the type says nothing to this server.
    """
    given = request.get("Type")
    check_text("Type", given or "")
    return given or None


def refuse_external_rotation(secret: Secret, request: Request) -> None:
    """Raise for a RotateSecret that needs the partner of a managed external secret.

    InvalidParameterException when its metadata or role are malformed, or the secret is not an external one;
    InvalidRequestException when they are well-formed, because this server cannot do it.
    """
    metadata = request.get("ExternalSecretRotationMetadata")
    role_arn = request.get("ExternalSecretRotationRoleArn")
    asked = metadata is not None or role_arn is not None
    if metadata is not None:
        check_metadata(metadata)
    if role_arn is not None:
        check_role(secret, role_arn)
    if asked and secret.secret_type is None:
        raise InvalidParameterException(
            "ExternalSecretRotationMetadata and ExternalSecretRotationRoleArn are for managed external secrets only."
        )
    if asked or secret.secret_type is not None:
        raise InvalidRequestException(
            f"Managed external secrets can't be rotated by this server (the secret's type is {secret.secret_type})."
        )


def check_metadata(metadata: Sequence[Mapping[str, Any]]) -> None:
    """Raise InvalidParameterException unless each entry has a key and a value, and no key stands twice."""
    if any("Key" not in entry or "Value" not in entry for entry in metadata):
        raise InvalidParameterException("Each ExternalSecretRotationMetadata must have a Key and a Value.")
    keys = [entry["Key"] for entry in metadata]
    if len(set(keys)) != len(keys):
        raise InvalidParameterException("Duplicate ExternalSecretRotationMetadata keys are not allowed.")


def check_role(secret: Secret, role_arn: str) -> None:
    """Raise InvalidParameterException unless this is the ARN of a role in the secret's account."""
    try:
        arn = Arn.parse(role_arn)
    except ValueError:
        arn = None
    if (
        arn is None
        or (arn.service, arn.region, arn.account_id) != ("iam", "", secret.account_id)
        or not arn.resource.startswith("role/")
    ):
        raise InvalidParameterException(
            "ExternalSecretRotationRoleArn must be the ARN of an IAM role in this account."
        )
