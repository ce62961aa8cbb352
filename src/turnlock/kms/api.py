"""KMS's table of actions. The functions are in one module for each of KMS's nouns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from turnlock.core.action import Action, Answer, Prepare, Request, Subject, no_resource, of_request
from turnlock.core.call import Call
from turnlock.kms.aliases import alias_subject, create_alias, delete_alias, list_aliases, update_alias
from turnlock.kms.creation import create_key, describe_key, list_keys, new_key_subject, prepare_key
from turnlock.kms.cryptography.encrypting import (
    DESTINATION,
    decrypt,
    encrypt,
    generate_data_key,
    generate_data_key_pair,
    generate_data_key_pair_without_plaintext,
    generate_data_key_without_plaintext,
    generate_random,
    prepare_data_key_pair,
    re_encrypt,
    source_subject,
)
from turnlock.kms.cryptography.signing import generate_mac, get_public_key, sign, verify, verify_mac
from turnlock.kms.grants.api import (
    create_grant,
    list_grants,
    list_retirable_grants,
    retire_grant,
    retiring_subject,
    revoke_grant,
)
from turnlock.kms.key_policies.api import Principals, get_key_policy, list_key_policies, put_key_policy
from turnlock.kms.lifecycle import (
    cancel_key_deletion,
    disable_key,
    enable_key,
    schedule_key_deletion,
    update_key_description,
)
from turnlock.kms.lookup import ADMINISTERED, GRANTED, USED, ciphertext_subject
from turnlock.kms.rotation import (
    disable_key_rotation,
    enable_key_rotation,
    get_key_rotation_status,
    list_key_rotations,
    rotate_key_on_demand,
)
from turnlock.kms.tagging import list_resource_tags, tag_resource, untag_resource
from turnlock.storage import Unit

_Handler = Callable[[Call, Request, Unit], Answer]
_Subject = Callable[[Call, Request, Unit], Subject]


def kms_actions(principals: Principals) -> tuple[Action, ...]:
    """Return KMS's actions. `app` passes in what IAM knows of principals: IAM is above this room."""
    return (
        _writes("CancelKeyDeletion", cancel_key_deletion, ADMINISTERED.subject),
        _writes("CreateAlias", create_alias, alias_subject),
        _writes("CreateGrant", partial(create_grant, principals), GRANTED.subject),
        _writes("CreateKey", partial(create_key, principals), new_key_subject, of_request(prepare_key)),
        _reads("Decrypt", decrypt, ciphertext_subject),
        _writes("DeleteAlias", delete_alias, alias_subject),
        _reads("DescribeKey", describe_key, USED.subject),
        _writes("DisableKey", disable_key, ADMINISTERED.subject),
        _writes("DisableKeyRotation", disable_key_rotation, ADMINISTERED.subject),
        _writes("EnableKey", enable_key, ADMINISTERED.subject),
        _writes("EnableKeyRotation", enable_key_rotation, ADMINISTERED.subject),
        _reads("Encrypt", encrypt, USED.subject),
        _reads("GenerateDataKey", generate_data_key, USED.subject),
        _reads(
            "GenerateDataKeyPair", generate_data_key_pair, USED.subject, of_request(prepare_data_key_pair)
        ),
        _reads(
            "GenerateDataKeyPairWithoutPlaintext",
            generate_data_key_pair_without_plaintext,
            USED.subject,
            of_request(prepare_data_key_pair),
        ),
        _reads("GenerateDataKeyWithoutPlaintext", generate_data_key_without_plaintext, USED.subject),
        _reads("GenerateMac", generate_mac, USED.subject),
        _reads("GenerateRandom", generate_random, no_resource),
        _reads("GetKeyPolicy", partial(get_key_policy, principals), ADMINISTERED.subject),
        _reads("GetKeyRotationStatus", get_key_rotation_status, GRANTED.subject),
        _reads("GetPublicKey", get_public_key, USED.subject),
        _reads("ListAliases", list_aliases, no_resource),
        _reads("ListGrants", partial(list_grants, principals), GRANTED.subject),
        _reads("ListKeyPolicies", list_key_policies, ADMINISTERED.subject),
        _reads("ListKeyRotations", list_key_rotations, ADMINISTERED.subject),
        _reads("ListKeys", list_keys, no_resource),
        _reads("ListResourceTags", list_resource_tags, ADMINISTERED.subject),
        _reads("ListRetirableGrants", partial(list_retirable_grants, principals), no_resource),
        _writes("PutKeyPolicy", partial(put_key_policy, principals), ADMINISTERED.subject),
        Action(
            name="ReEncrypt",
            handler=re_encrypt,
            subject=DESTINATION.subject,
            mutates=False,
            permission="ReEncryptTo",
        ),
        _writes("RetireGrant", retire_grant, retiring_subject),
        _writes("RevokeGrant", revoke_grant, GRANTED.subject),
        _writes("RotateKeyOnDemand", rotate_key_on_demand, ADMINISTERED.subject),
        _writes("ScheduleKeyDeletion", schedule_key_deletion, ADMINISTERED.subject),
        _reads("Sign", sign, USED.subject),
        _writes("TagResource", tag_resource, ADMINISTERED.subject),
        _writes("UntagResource", untag_resource, ADMINISTERED.subject),
        _writes("UpdateAlias", update_alias, alias_subject),
        _writes("UpdateKeyDescription", update_key_description, ADMINISTERED.subject),
        _reads("Verify", verify, USED.subject),
        _reads("VerifyMac", verify_mac, USED.subject),
    )


RIGHTS: Final = (
    Action(
        name="ReEncrypt",
        handler=re_encrypt,
        subject=source_subject,
        mutates=False,
        permission="ReEncryptFrom",
    ),
)
"""Permissions that an operation needs beside its own: ReEncrypt's on the source."""


def _reads(name: str, handler: _Handler, subject: _Subject, prepare: Prepare | None = None) -> Action:
    return Action(name=name, handler=handler, subject=subject, mutates=False, prepare=prepare)


def _writes(name: str, handler: _Handler, subject: _Subject, prepare: Prepare | None = None) -> Action:
    return Action(name=name, handler=handler, subject=subject, mutates=True, prepare=prepare)
