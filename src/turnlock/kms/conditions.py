"""The condition keys that KMS adds to a call (KMS developer guide, "AWS KMS condition keys")."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from turnlock.core.action import ConditionValues, Request
from turnlock.core.call import Call
from turnlock.core.tags import TagRules, request_tag_keys, resource_tag_keys, tag_keys
from turnlock.errors import LimitExceededException, TagException
from turnlock.kms import store
from turnlock.kms.model import SYMMETRIC, KmsKey
from turnlock.storage import Unit

_CONTEXTS: Final = {
    "ReEncryptFrom": "SourceEncryptionContext",
    "ReEncrypt": "DestinationEncryptionContext",
}
"""Action → the member with its encryption context, where that is not EncryptionContext."""


def _refuse_null(key: str, value: str) -> None:
    if "\0" in key + value:
        raise TagException("A tag must not contain the null character.")


TAGS: Final = TagRules(
    key="TagKey",
    value="TagValue",
    too_many=lambda: LimitExceededException("A key can have at most 50 tags."),
    is_reserved=lambda: TagException("Tag keys that start with aws: are reserved."),
    duplicate=lambda: TagException("Duplicate tag keys are not allowed."),
    check=_refuse_null,
)
"""The tags of keys (KMS developer guide, "Tags in AWS KMS")."""


def _texts(value: Any) -> Sequence[str]:
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return list(value) if isinstance(value, list) else [str(value)]


_OF_REQUEST: Final[Mapping[str, tuple[str, Callable[[Any], Sequence[str]]]]] = {
    "BypassPolicyLockoutSafetyCheck": ("kms:bypasspolicylockoutsafetycheck", _texts),
    "Constraints": ("kms:grantconstrainttype", sorted),
    "EncryptionAlgorithm": ("kms:encryptionalgorithm", _texts),
    "GranteePrincipal": ("kms:granteeprincipal", _texts),
    "KeyPairSpec": ("kms:datakeypairspec", _texts),
    "MacAlgorithm": ("kms:macalgorithm", _texts),
    "MessageType": ("kms:messagetype", _texts),
    "Operations": ("kms:grantoperations", _texts),
    "PendingWindowInDays": ("kms:scheduledeletionpendingwindowindays", _texts),
    "RetiringPrincipal": ("kms:retiringprincipal", _texts),
    "RotationPeriodInDays": ("kms:rotationperiodindays", _texts),
    "SigningAlgorithm": ("kms:signingalgorithm", _texts),
}
"""By member of a request: the condition key that it becomes."""

_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "CreateKey": {"BypassPolicyLockoutSafetyCheck": False},
    "PutKeyPolicy": {"BypassPolicyLockoutSafetyCheck": False},
    "Sign": {"MessageType": "RAW"},
    "Verify": {"MessageType": "RAW"},
    "Encrypt": {"EncryptionAlgorithm": SYMMETRIC},
    "Decrypt": {"EncryptionAlgorithm": SYMMETRIC},
}
"""Action → defaults of members that the caller left out."""


def conditions_of(call: Call, request: Request, unit: Unit, key: KmsKey | None) -> ConditionValues:
    """Return KMS's condition keys for a call: who calls, through what, on which key, with which request."""
    found: dict[str, Sequence[str]] = {"kms:calleraccount": [call.principal.account_id]}
    if call.invoked_by is not None:
        service = call.invoked_by.partition(".")[0]
        found["kms:viaservice"] = [f"{service}.{call.region}.amazonaws.com"]
    asked = {**_DEFAULTS.get(call.action, {}), **request}
    for member, (name, values) in _OF_REQUEST.items():
        if member in asked:
            found[name] = values(asked[member])
    named = str(request.get("KeyId", ""))
    alias = named.rpartition(":")[2]
    if alias.startswith("alias/"):
        found["kms:requestalias"] = [alias]
    return {
        **found,
        **_context(call, request),
        **request_tag_keys(TAGS.pairs(request), request.get("TagKeys", ())),
        **_of_key(unit, key, request),
    }


def context_of(action: str, request: Request) -> Mapping[str, str]:
    """Return a request's encryption context; for ReEncrypt that of the side which the action is about."""
    pairs: Mapping[str, str] = request.get(_CONTEXTS.get(action, "EncryptionContext"), {})
    return pairs


def _context(call: Call, request: Request) -> ConditionValues:
    pairs = context_of(call.action, request)
    if not pairs:
        return {}
    return {
        "kms:encryptioncontextkeys": list(pairs),
        **tag_keys("kms:encryptioncontext:", pairs),
    }


def _of_key(unit: Unit, key: KmsKey | None, request: Request) -> ConditionValues:
    """Return the condition keys of an existing key, or of one that is being made."""
    if key is None:
        return {
            "kms:keyspec": [str(request.get("KeySpec", SYMMETRIC))],
            "kms:keyusage": [str(request.get("KeyUsage", "ENCRYPT_DECRYPT"))],
            "kms:keyorigin": [str(request.get("Origin", "AWS_KMS"))],
        }
    aliases = store.aliases_after(unit, key.account_id, key.region, key_id=key.key_id)
    return {
        "kms:keyspec": [key.spec],
        "kms:keyusage": [key.usage.value],
        "kms:keyorigin": ["AWS_KMS"],
        "kms:multiregion": ["false"],
        "kms:resourcealiases": [alias.name for alias in aliases],
        **resource_tag_keys(key.tags),
    }
