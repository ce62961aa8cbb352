"""The master user's password: sealed in the row, or in a secret that RDS owns and rotates."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any, Final

from turnlock import kms, rotation, secrets
from turnlock.core.call import Call
from turnlock.core.drawing import ALPHANUMERICS, draw_text
from turnlock.errors import ApiError, InvalidParameterCombination, InvalidParameterValue
from turnlock.rds import store
from turnlock.rds.changes import ServerWanted
from turnlock.rds.model import DbResource, Kind, Status, check_password
from turnlock.storage import Unit

OWNING_SERVICE: Final = "rds"
ROTATION_RULES: Final[Mapping[str, Any]] = {"AutomaticallyAfterDays": 7}
"""How often a managed password is rotated unless its owner says otherwise (RDS user guide, "Password management")."""

PRIMARY_TAGS: Final = {
    Kind.INSTANCE: "aws:rds:primaryDBInstanceArn",
    Kind.CLUSTER: "aws:rds:primaryDBClusterArn",
}
"""The tag of a managed secret by which rotation functions find its database (docs/aws-behaviour.md#secrets-that-rds-manages)."""

_LENGTH = 32
"""Characters of a managed password: 190 bits of letters and digits, which need no quoting anywhere."""


def seal_password(unit: Unit, resource: DbResource, password: str, *, user: str = "master") -> bytes:
    """Seal a password for one resource and one of its users."""
    return kms.seal_field(
        unit, resource.account_id, password.encode(), owner=resource.arn, part=_part(resource, user)
    )


def open_password(unit: Unit, resource: DbResource, sealed: bytes, *, user: str = "master") -> str:
    """Open what `seal_password` sealed for the same resource and user. Raises SealBroken."""
    opened = kms.unseal_field(
        unit, resource.account_id, sealed, owner=resource.arn, part=_part(resource, user)
    )
    return opened.decode()


def new_password(unit: Unit) -> str:
    """Return a new random password."""
    return draw_text(unit.entropy, ALPHANUMERICS, _LENGTH)


def check_choice(request: Mapping[str, Any], *, required: bool) -> None:
    """Raise unless a request leaves no doubt about who keeps the master password.

    InvalidParameterCombination for both ways together or a key for no secret, InvalidParameterValue for neither where
    one is `required`. What registers a server (`Endpoint`) gives both: a managed secret begins with the password of now.
    """
    managed, given = request.get("ManageMasterUserPassword", False), "MasterUserPassword" in request
    if managed and given and "Endpoint" not in request:
        raise InvalidParameterCombination(
            "You can't specify MasterUserPassword when ManageMasterUserPassword is turned on."
        )
    if not managed and "MasterUserSecretKmsKeyId" in request:
        raise InvalidParameterCombination("MasterUserSecretKmsKeyId goes with ManageMasterUserPassword.")
    if required and not given and (not managed or "Endpoint" in request):
        raise InvalidParameterValue(
            "The parameter MasterUserPassword must be provided and must not be blank."
        )


def with_password(call: Call, unit: Unit, resource: DbResource, request: Mapping[str, Any]) -> DbResource:
    """Return the resource with the master password that a request gives it; written by the caller.

    A managed password's secret is made by the caller's own authority, as on AWS: the gate is asked for CreateSecret.
    """
    password = request.get("MasterUserPassword")
    if password is not None:
        check_password(resource.engine, password)
    if not request.get("ManageMasterUserPassword", False):
        if password is None:
            return resource
        return resource.evolve(sealed_password=seal_password(unit, resource, password))
    if password is None and resource.host is not None and not resource.local:
        password = master_password(unit, resource)
        if password is None:
            raise InvalidParameterCombination("The master password that the server has now is not known.")
    return manage(call, unit, resource, request.get("MasterUserSecretKmsKeyId"), password)


def manage(
    call: Call, unit: Unit, resource: DbResource, kms_key_id: str | None, password: str | None = None
) -> DbResource:
    """Put the master password (None: a new one) into a new secret that RDS owns; return the resource that names it."""
    value = {"username": resource.master_username, "password": password or new_password(unit)}
    name = f"{OWNING_SERVICE}!{resource.kind.value}-{_uuid(unit)}"
    request = {
        "Name": name,
        "ClientRequestToken": _uuid(unit),
        "Description": f"The secret associated with the primary RDS {_WORDS[resource.kind]}: {resource.arn}",
        "SecretString": json.dumps(value),
    }
    if kms_key_id is not None:
        request["KmsKeyId"] = kms_key_id
    answer = call.gate.nested("secretsmanager:CreateSecret", request)
    if isinstance(answer, ApiError):
        raise answer
    tags = {PRIMARY_TAGS[resource.kind]: resource.arn, "aws:secretsmanager:owningService": OWNING_SERVICE}
    managed = resource.evolve(secret_arn=answer["ARN"], sealed_password=None)
    secret = managed_secret(unit, managed)
    assert secret is not None
    rotation.manage(unit, secrets.hand_over(unit, secret, OWNING_SERVICE, tags), ROTATION_RULES)
    return managed


def rotate(call: Call, unit: Unit, resource: DbResource) -> None:
    """Rotate a managed password now, by the caller's own authority."""
    if resource.secret_arn is None:
        raise InvalidParameterCombination("RotateMasterUserPassword goes with a managed master password.")
    request = {"SecretId": resource.secret_arn, "ClientRequestToken": _uuid(unit)}
    answer = call.gate.nested("secretsmanager:RotateSecret", request)
    if isinstance(answer, ApiError):
        raise answer


def reset_members(unit: Unit, cluster: DbResource) -> None:
    """Have the local members of a cluster given the password that the cluster has now."""
    for member in store.related(unit, cluster.account_id, cluster.region, [cluster.identifier]):
        if member.local and member.cluster_id == cluster.identifier:
            store.save(unit, member.evolve(status=Status.RESETTING))
            unit.announce(ServerWanted())


def managed_secret(unit: Unit, resource: DbResource) -> secrets.Secret | None:
    """Return the secret that RDS manages for a resource's master user, if it is there."""
    if resource.secret_arn is None:
        return None
    reference = secrets.parse_secret_id(resource.secret_arn, resource.account_id, resource.region)
    return secrets.find_secret(unit, reference)


def forget_secret(unit: Unit, resource: DbResource) -> None:
    """Delete a resource's managed secret at once, as RDS does with the resource."""
    secret = managed_secret(unit, resource)
    if secret is not None:
        secrets.delete_now(unit, secret)


def master_password(unit: Unit, resource: DbResource) -> str | None:
    """Return the master password as it is known here: from the managed secret, else from the row. Raises SealBroken."""
    secret = managed_secret(unit, resource)
    if secret is not None:
        version = secrets.find_version(unit, secret, secret.labels[secrets.AWSCURRENT])
        value = None if version is None else secrets.open_value(unit, secret, version)
        return None if value is None else str(json.loads(value)["password"])
    if resource.sealed_password is None:
        return None
    return open_password(unit, resource, resource.sealed_password)


_WORDS = {Kind.INSTANCE: "DB instance", Kind.CLUSTER: "DB cluster"}


def _part(resource: DbResource, user: str) -> str:
    return f"{resource.resource_id}/{user}"


def _uuid(unit: Unit) -> str:
    return str(uuid.UUID(bytes=unit.entropy.bytes(16), version=4))
