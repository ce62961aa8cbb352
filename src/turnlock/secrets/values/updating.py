"""UpdateSecret: metadata, the encryption key, and a new value."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from turnlock.core.action import Action, Answer, Request
from turnlock.core.call import Call
from turnlock.errors import ResourceExistsException
from turnlock.secrets.labels.clean_up import require_room
from turnlock.secrets.lookup import primary_of, replica_refusal, require_living, secret_subject
from turnlock.secrets.model import (
    AWSCURRENT,
    AWSPENDING,
    AWSPREVIOUS,
    Secret,
    Version,
    check_text,
    put_labels,
)
from turnlock.secrets.ownership import refuse_default_key, refuse_managed
from turnlock.secrets.parameters import customer_key, require_token
from turnlock.secrets.replication.store import find_replica, update_replica
from turnlock.secrets.store import find_version, insert_version, reseal_version
from turnlock.secrets.values.changes import move_labels, update_secret
from turnlock.secrets.values.content import value_in
from turnlock.secrets.values.customer_keys import holds_value, may_encrypt_again, open_for, seal_for, try_key
from turnlock.secrets.values.external import secret_type_in
from turnlock.storage import Unit

_SEALED_ANEW: Final = (AWSCURRENT, AWSPENDING, AWSPREVIOUS)
"""Labels whose versions are encrypted again under a new key (API reference, UpdateSecret)."""

_KEY_ONLY: Final = frozenset({"SecretId", "KmsKeyId", "ClientRequestToken"})
"""The members that a request for a replica may have: only its key is its own. SDKs add the token."""


def update(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateSecret: change the members that are given; with a value, make a new version AWSCURRENT."""
    given_token = require_token(request)
    secret = require_living(call, request, unit)
    if secret.is_replica and not request.keys() <= _KEY_ONLY:
        raise replica_refusal()
    refuse_managed(call, secret)
    value = value_in(request)
    if value is not None or "KmsKeyId" in request:
        refuse_default_key(call, secret)
    token = given_token if value is not None else None
    repeated = value is not None and _repeated(call, unit, secret, str(token), value)
    changed = _with_metadata(call, request, unit, secret)
    if value is not None and token is not None and not repeated:
        insert_version(unit, changed, seal_for(call, unit, changed, token, value))
        changed = move_labels(unit, changed, put_labels(changed.labels, token, None))
        require_room(unit, changed)
    return {"ARN": changed.arn, "Name": changed.name, "VersionId": token}


ACTIONS = (Action(name="UpdateSecret", handler=update, subject=secret_subject, mutates=True),)


def _repeated(call: Call, unit: Unit, secret: Secret, token: str, value: tuple[str, bytes]) -> bool:
    """Tell whether the token's version has exactly this value. Raises ResourceExistsException for another value.

    A rotation's placeholder counts as another value: AWSCURRENT must not become a password that no database has.
    """
    existing = find_version(unit, secret, token)
    if existing is None:
        return False
    if not holds_value(call, unit, secret, existing, value):
        raise ResourceExistsException(
            f"You can't use ClientRequestToken {token} because that value is already in use for a version of"
            f" secret {secret.arn}."
        )
    return True


def _with_metadata(call: Call, request: Request, unit: Unit, secret: Secret) -> Secret:
    """Write what the request changes of the secret's own columns; return the secret as it then is."""
    changed = secret
    if "Description" in request:
        check_text("Description", request["Description"])
        changed = changed.evolve(description=request["Description"] or None)
    if "Type" in request:
        changed = changed.evolve(secret_type=secret_type_in(request))
    if "KmsKeyId" in request:
        changed = changed.evolve(kms_key_id=customer_key(call, request, unit))
    if changed == secret:
        return secret
    changed = changed.evolve(last_changed_at=unit.now)
    update_secret(unit, changed)
    if changed.kms_key_id != secret.kms_key_id:
        _use_key(call, unit, changed)
    return changed


def _use_key(call: Call, unit: Unit, secret: Secret) -> None:
    """Try the new key as the caller, and encrypt the labelled versions under it.

    A caller without kms:Encrypt on the new key leaves the old versions under the old one. Raises EncryptionFailure when
    the new key cannot be used, DecryptionFailure when the old one cannot, AccessDeniedException when the caller may not
    use one of them.
    """
    try_key(call, unit, secret)
    labelled = {secret.labels[label] for label in _SEALED_ANEW if label in secret.labels}
    for version_id in sorted(labelled if may_encrypt_again(call, unit, secret) else ()):
        version = find_version(unit, secret, version_id)
        if version is not None:
            _seal_anew(call, unit, secret, version)
    if secret.is_replica:
        _tell_primary(unit, secret)


def _seal_anew(call: Call, unit: Unit, secret: Secret, version: Version) -> None:
    plaintext = open_for(call, unit, secret, version)
    if plaintext is not None and version.kind is not None:
        sealed = seal_for(call, unit, secret, version.version_id, (version.kind, plaintext)).sealed
        reseal_version(unit, secret, replace(version, sealed=sealed))


def _tell_primary(unit: Unit, replica: Secret) -> None:
    """Write a replica's new key into the primary's row of it: the next copy uses it."""
    primary = primary_of(unit, replica)
    row = None if primary is None else find_replica(unit, primary, replica.region)
    if primary is not None and row is not None:
        update_replica(unit, primary, row.evolve(kms_key_id=replica.kms_key_id), was=row)
