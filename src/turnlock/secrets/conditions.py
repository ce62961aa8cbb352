"""The condition keys that Secrets Manager adds for a call (docs/aws-behaviour.md#condition-keys-of-secrets).

They are read only when a policy's condition needs them: `Subject.conditions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from turnlock import kms
from turnlock.core.action import ConditionValues, Request, Subject
from turnlock.core.arn import partition_of
from turnlock.core.call import Call
from turnlock.core.tags import Pairs, request_tag_keys, resource_tag_keys
from turnlock.errors import ApiError
from turnlock.secrets.model import Secret, check_name
from turnlock.secrets.parameters import TAGS
from turnlock.secrets.policy.store import find_policy
from turnlock.secrets.tags.store import find_tags
from turnlock.storage import Unit

_UNDRAWN: Final = "-??????"
"""Stands for the random suffix of a new secret's ARN. No real ARN ends like this."""

Spell = Callable[[Any], Sequence[str]]
"""Spells a member of a request as policies do."""


def subject_of(call: Call, request: Request, unit: Unit, secret: Secret) -> Subject:
    """Return the gate's subject for an existing secret; `request` has the SecretId."""
    return Subject(
        arn=secret.arn,
        named=request["SecretId"],
        policy=find_policy(unit, secret),
        absent=partial(subject_of_absent, call, request, unit),
        conditions=partial(_of_secret, call, request, unit, secret),
    )


def subject_of_absent(call: Call, request: Request, unit: Unit) -> Subject:
    """Return the gate's subject for a secret that does not exist: only the SecretId of the request is known.

    The SecretId may be the ARN of a secret that is being made. It then has the tags of the request.
    """
    named = request["SecretId"]
    conditions = _of_new if is_undrawn(named) else _of_request
    return Subject(arn=None, named=named, conditions=partial(conditions, call, request, unit))


def subject_of_new(call: Call, request: Request, unit: Unit) -> Subject:
    """Return CreateSecret's subject: an ARN whose six random characters are not drawn yet.

    Raises ValidationException for a name that no secret can have.
    """
    check_name(request["Name"])
    return Subject(
        arn=new_arn(call, request["Name"]),
        named=request["Name"],
        conditions=partial(_of_new, call, request, unit),
    )


def new_arn(call: Call, name: str) -> str:
    """Return the ARN of a secret to be made, as policies match it: `?` for each character of the suffix."""
    partition = partition_of(call.region)
    return f"arn:{partition}:secretsmanager:{call.region}:{call.account_id}:secret:{name}{_UNDRAWN}"


def is_undrawn(secret_id: str) -> bool:
    """Tell whether this is what `new_arn` returns for a secret that is being made."""
    return secret_id.endswith(_UNDRAWN)


def stands_for_none(secret_id: str) -> bool:
    """Tell whether a SecretId stands for a secret that is being made, or for none (`*`)."""
    return secret_id == "*" or is_undrawn(secret_id)  # noqa: S105 (no password)


def _of_secret(call: Call, request: Request, unit: Unit, secret: Secret) -> ConditionValues:
    rotation = secret.rotation
    found = {
        "secretsmanager:secretid": secret.arn,
        "secretsmanager:resource/allowrotationlambdaarn": rotation.function_arn,
        "secretsmanager:resource/type": secret.secret_type,
        "secretsmanager:secretprimaryregion": secret.primary_region or secret.region,
    }
    return {
        **{key: (value,) for key, value in found.items() if value is not None},
        **_resource_tags(find_tags(unit, secret)),
        **_of_request(call, request, unit),
    }


def _of_new(call: Call, request: Request, unit: Unit) -> ConditionValues:
    """Return a new secret's conditions: the tags of the request count as tags of the secret."""
    return {**_resource_tags(_tags(request)), **_of_request(call, request, unit)}


def _of_request(call: Call, request: Request, unit: Unit) -> ConditionValues:
    given = {**_DEFAULTS.get(call.action, {}), **request}
    found = {
        f"secretsmanager:{member.lower()}": _SPELLED[member](given[member])
        for member in _MEMBERS.get(call.action, ())
        if member in given
    }
    if call.action == "RotateSecret":
        found["secretsmanager:modifyrotationrules"] = _boolean(bool(request.get("RotationRules")))
    if "KmsKeyId" in given and "KmsKeyId" in _MEMBERS.get(call.action, ()):
        found["secretsmanager:kmskeyarn"] = _key_arn(call, unit, given["KmsKeyId"])
    if call.action in _TAGGING:
        found |= request_tag_keys(_tags(request), request.get("TagKeys", ()))
    return found


def _resource_tags(tags: Mapping[str, str] | Pairs) -> dict[str, Sequence[str]]:
    return resource_tag_keys(tags, "secretsmanager:resourcetag/")


def _tags(request: Request) -> Pairs:
    return [pair for pair in TAGS.pairs(request) if pair[0]]


def _key_arn(call: Call, unit: Unit, given: str) -> Sequence[str]:
    """Return the ARN of the customer key that a request names; none for a key that is not there, or is AWS's own."""
    if given in ("", kms.MANAGED_ALIAS, kms.MANAGED_ALIAS.removeprefix("alias/")):
        return ()
    try:
        return (kms.resolve_key(unit, call.account_id, call.region, given).arn,)
    except ApiError:
        return ()


def _text(value: Any) -> Sequence[str]:
    return (str(value),)


def _boolean(value: Any) -> Sequence[str]:
    return ("true" if value else "false",)


def _regions(replicas: Any) -> Sequence[str]:
    return [replica["Region"] for replica in replicas if "Region" in replica]


_SPELLED: Final[Mapping[str, Spell]] = {
    "AddReplicaRegions": _regions,
    "BlockPublicPolicy": _boolean,
    "Description": _text,
    "ExternalSecretRotationRoleArn": _text,
    "ForceDeleteWithoutRecovery": _boolean,
    "ForceOverwriteReplicaSecret": _boolean,
    "KmsKeyId": _text,
    "Name": _text,
    "RecoveryWindowInDays": _text,
    "RotateImmediately": _boolean,
    "RotationLambdaARN": _text,
    "Type": _text,
    "VersionId": _text,
    "VersionStage": _text,
}
"""By member of a request that is a condition key too: how policies spell it."""

_REPLICAS: Final = ("AddReplicaRegions", "ForceOverwriteReplicaSecret")
_METADATA: Final = ("Description", "KmsKeyId", "Type")
_MEMBERS: Final[Mapping[str, Sequence[str]]] = {
    "CreateSecret": ("Name", *_METADATA, *_REPLICAS),
    "DeleteSecret": ("ForceDeleteWithoutRecovery", "RecoveryWindowInDays"),
    "GetSecretValue": ("VersionId", "VersionStage"),
    "PutResourcePolicy": ("BlockPublicPolicy",),
    "ReplicateSecretToRegions": _REPLICAS,
    "RotateSecret": ("RotationLambdaARN", "RotateImmediately", "ExternalSecretRotationRoleArn"),
    "UpdateSecret": _METADATA,
    "UpdateSecretVersionStage": ("VersionStage",),
}
"""By action: the members that are condition keys; `secretsmanager:` and the member's name."""

_DEFAULTS: Final[Mapping[str, Request]] = {"RotateSecret": {"RotateImmediately": True}}
_TAGGING: Final = ("CreateSecret", "TagResource", "UntagResource")
