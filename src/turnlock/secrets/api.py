"""Secrets Manager's actions on secrets, one function each; behaviour by the API reference and docs/aws-behaviour.md."""

from __future__ import annotations

from typing import Any

from turnlock.core.action import Action, Answer, Request, no_resource
from turnlock.core.call import Call
from turnlock.core.drawing import ALPHANUMERICS, draw_text
from turnlock.errors import InvalidRequestException, ResourceExistsException, ResourceNotFoundException
from turnlock.secrets import model
from turnlock.secrets.accesses import note_access, noted_reads
from turnlock.secrets.conditions import new_arn, subject_of_new
from turnlock.secrets.deletion import delete_secret, restore_secret
from turnlock.secrets.labels.clean_up import require_room
from turnlock.secrets.listing import batch
from turnlock.secrets.listing import versions as versions_listing
from turnlock.secrets.listing.api import describe, list_secrets
from turnlock.secrets.lookup import require_living, require_secret, require_writable, secret_subject
from turnlock.secrets.model import AWSCURRENT, Secret, SecretReference, Version, check_text
from turnlock.secrets.ownership import refuse_default_key, refuse_managed
from turnlock.secrets.parameters import TAGS, customer_key, refuse_members, require_token
from turnlock.secrets.policy import api as policies
from turnlock.secrets.replication.api import (
    add_replicas,
    remove_regions_from_replication,
    replicate_secret_to_regions,
    replication_status,
    stop_replication_to_replica,
)
from turnlock.secrets.store import fill_version, find_secret, find_version, insert_secret, insert_version
from turnlock.secrets.tags import api as tagging
from turnlock.secrets.tags.store import find_tags, were_emptied
from turnlock.secrets.values import updating
from turnlock.secrets.values.changes import RotationTokenPresented, move_labels
from turnlock.secrets.values.content import answer_member, require_value, value_in
from turnlock.secrets.values.customer_keys import holds_value, open_for, seal_for, try_key
from turnlock.secrets.values.external import secret_type_in
from turnlock.secrets.values.password import random_password
from turnlock.storage import Unit

_FURTHER_RIGHTS = {"Tags": "TagResource", "AddReplicaRegions": "ReplicateSecretToRegions"}
"""By member of CreateSecret: what the caller must be allowed to do too (API reference, "Required permissions")."""


def create_secret(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateSecret: a new secret, with a first version under AWSCURRENT when a value is given."""
    refuse_members(request)
    check_text("Description", request.get("Description", ""))
    value = value_in(request)
    version_id = None if value is None else require_token(request)
    tags = TAGS.read(request)
    for member, operation in _FURTHER_RIGHTS.items():
        if member in request:
            further = {"SecretId": new_arn(call, request["Name"]), member: request[member]}
            call.gate.require(operation, further)
    reference = SecretReference(
        account_id=call.account_id, region=call.region, name=request["Name"], suffix=None
    )
    existing = find_secret(unit, reference)
    if existing is not None:
        return _created_before(call, request, unit, existing, value)
    secret = Secret(
        account_id=call.account_id,
        region=call.region,
        name=request["Name"],
        suffix=draw_text(unit.entropy, ALPHANUMERICS, 6),
        description=request.get("Description") or None,
        kms_key_id=customer_key(call, request, unit),
        created_at=unit.now,
        last_changed_at=unit.now,
        secret_type=secret_type_in(request),
    )
    if not insert_secret(unit, secret, tags):
        raise _name_taken(secret.name)
    if secret.kms_key_id is not None:
        try_key(call, unit, secret)
    if value is not None and version_id is not None:
        insert_version(unit, secret, seal_for(call, unit, secret, version_id, value))
        secret = move_labels(unit, secret, {AWSCURRENT: version_id})
    return {
        "ARN": secret.arn,
        "Name": secret.name,
        "VersionId": version_id,
        "ReplicationStatus": add_replicas(call, request, unit, secret)
        if "AddReplicaRegions" in request
        else None,
    }


def get_secret_value(call: Call, request: Request, unit: Unit) -> Answer:
    """GetSecretValue: the value of the version that a label (AWSCURRENT by default) or an id names."""
    secret = require_living(call, request, unit)
    refuse_default_key(call, secret)
    asked = (
        secret.account_id,
        secret.region,
        secret.name,
        request.get("VersionId"),
        request.get("VersionStage"),
    )
    version, stages = unit.derived(("readable", *asked), lambda: _readable(unit, secret, request))
    plaintext = open_for(call, unit, secret, version)
    if plaintext is None:
        # A placeholder: rotation functions rely on this code to see that createSecret has not run yet.
        raise _no_value(request)
    note_access(unit, secret, version)
    return {
        "ARN": secret.arn,
        "Name": secret.name,
        "VersionId": version.version_id,
        **answer_member(version, plaintext),
        "VersionStages": stages or None,
        "CreatedDate": version.created_at,
    }


def put_secret_value(call: Call, request: Request, unit: Unit) -> Answer:
    """PutSecretValue: a new version, or the value of a rotation's placeholder; repeating it changes nothing."""
    token = require_token(request)
    secret = require_writable(call, request, unit)
    refuse_managed(call, secret)
    refuse_default_key(call, secret)
    value = require_value(request)
    stages = request.get("VersionStages")
    for stage in stages or ():
        check_text("VersionStages", stage)
    if "RotationToken" in request:
        unit.announce(
            RotationTokenPresented(secret=secret, version_id=token, rotation_token=request["RotationToken"])
        )
    existing = find_version(unit, secret, token)
    if existing is not None and existing.kind is not None:
        if not holds_value(call, unit, secret, existing, value):
            raise ResourceExistsException(
                f"You can't use ClientRequestToken {token} because that value is already in use for a version of"
                f" secret {secret.arn}."
            )
        return _put_answer(secret, token)
    version = seal_for(call, unit, secret, token, value)
    (insert_version if existing is None else fill_version)(unit, secret, version)
    changed = move_labels(unit, secret, model.put_labels(secret.labels, token, stages))
    require_room(unit, changed)
    return _put_answer(changed, token)


def describe_secret(call: Call, request: Request, unit: Unit) -> Answer:
    """DescribeSecret: everything but the value; also of a secret that is scheduled for deletion."""
    secret = require_secret(call, request, unit)
    tags = find_tags(unit, secret)
    gone: dict[str, Any] = {"Tags": []} if not tags and were_emptied(unit, secret) else {}
    return {
        **describe(secret, tags, noted_reads(unit, [secret])),
        **gone,
        "VersionIdsToStages": model.versions_to_stages(secret.labels) or None,
        "ReplicationStatus": replication_status(unit, secret) if secret.has_replicas else None,
    }


def update_secret_version_stage(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateSecretVersionStage: move, add or remove one staging label."""
    secret = require_writable(call, request, unit)
    refuse_managed(call, secret)
    stage = request["VersionStage"]
    check_text("VersionStage", stage)
    move_to, remove_from = request.get("MoveToVersionId"), request.get("RemoveFromVersionId")
    for version_id in (move_to, remove_from):
        if version_id is not None and _find_version(unit, secret, version_id) is None:
            raise ResourceNotFoundException(
                f"Secrets Manager can't find the specified secret version: {version_id}."
            )
    labels = model.update_labels(secret.labels, stage, move_to=move_to, remove_from=remove_from)
    if stage == AWSCURRENT and move_to is not None and _is_placeholder(unit, secret, move_to):
        raise InvalidRequestException("You can't move AWSCURRENT to a version that has no value.")
    move_labels(unit, secret, labels)
    return {"ARN": secret.arn, "Name": secret.name}


def get_random_password(_call: Call, request: Request, unit: Unit) -> Answer:
    """GetRandomPassword: nothing is stored."""
    return {"RandomPassword": random_password(request, unit.entropy)}


ACTIONS = (
    Action(name="CreateSecret", handler=create_secret, subject=subject_of_new, mutates=True),
    Action(name="DeleteSecret", handler=delete_secret, subject=secret_subject, mutates=True),
    Action(name="DescribeSecret", handler=describe_secret, subject=secret_subject, mutates=False),
    Action(name="GetRandomPassword", handler=get_random_password, subject=no_resource, mutates=False),
    Action(name="GetSecretValue", handler=get_secret_value, subject=secret_subject, mutates=False),
    Action(name="ListSecrets", handler=list_secrets, subject=no_resource, mutates=False),
    Action(name="RestoreSecret", handler=restore_secret, subject=secret_subject, mutates=True),
    Action(name="PutSecretValue", handler=put_secret_value, subject=secret_subject, mutates=True),
    Action(
        name="RemoveRegionsFromReplication",
        handler=remove_regions_from_replication,
        subject=secret_subject,
        mutates=True,
    ),
    Action(
        name="ReplicateSecretToRegions",
        handler=replicate_secret_to_regions,
        subject=secret_subject,
        mutates=True,
    ),
    Action(
        name="StopReplicationToReplica",
        handler=stop_replication_to_replica,
        subject=secret_subject,
        mutates=True,
    ),
    Action(
        name="UpdateSecretVersionStage",
        handler=update_secret_version_stage,
        subject=secret_subject,
        mutates=True,
    ),
    *batch.ACTIONS,
    *policies.ACTIONS,
    *tagging.ACTIONS,
    *updating.ACTIONS,
    *versions_listing.ACTIONS,
)


def _created_before(
    call: Call, request: Request, unit: Unit, existing: Secret, value: tuple[str, bytes] | None
) -> Answer:
    """Answer a CreateSecret whose name is taken: a repeat of the same request is no error."""
    if existing.deleted_at is not None:
        raise InvalidRequestException(
            "You can't create this secret because a secret with this name is already scheduled for deletion."
        )
    token = request.get("ClientRequestToken")
    version = _find_version(unit, existing, token) if value is not None and token is not None else None
    if value is None or version is None or not holds_value(call, unit, existing, version, value):
        raise _name_taken(existing.name)
    return {
        "ARN": existing.arn,
        "Name": existing.name,
        "VersionId": version.version_id,
        "ReplicationStatus": replication_status(unit, existing) or None,
    }


def _name_taken(name: str) -> ResourceExistsException:
    return ResourceExistsException(f"The operation failed because the secret {name} already exists.")


def _find_version(unit: Unit, secret: Secret, version_id: str) -> Version | None:
    return None if "\0" in version_id else find_version(unit, secret, version_id)


def _is_placeholder(unit: Unit, secret: Secret, version_id: str) -> bool:
    version = find_version(unit, secret, version_id)
    return version is not None and version.kind is None


def _readable(unit: Unit, secret: Secret, request: Request) -> tuple[Version, list[str]]:
    """Return the version that VersionId and VersionStage name together, and its labels."""
    version = _requested_version(unit, secret, request)
    return version, model.stages_of(secret.labels, version.version_id)


def _requested_version(unit: Unit, secret: Secret, request: Request) -> Version:
    """Return the version that VersionId and VersionStage name together."""
    version_id, stage = request.get("VersionId"), request.get("VersionStage")
    if version_id is None:
        version_id = secret.labels.get(stage if stage is not None else AWSCURRENT)
        if version_id is None:
            raise _no_value(request)
    elif stage is not None and secret.labels.get(stage) != version_id:
        if _find_version(unit, secret, version_id) is None:
            raise _no_value(request)
        raise InvalidRequestException(
            "You provided a VersionStage that is not associated to the provided VersionId."
        )
    version = _find_version(unit, secret, version_id)
    if version is None:
        raise _no_value(request)
    return version


def _no_value(request: Request) -> ResourceNotFoundException:
    if "VersionId" in request:
        return ResourceNotFoundException(
            f"Secrets Manager can't find the specified secret value for VersionId: {request['VersionId']}"
        )
    stage = request.get("VersionStage", AWSCURRENT)
    return ResourceNotFoundException(
        f"Secrets Manager can't find the specified secret value for staging label: {stage}"
    )


def _put_answer(secret: Secret, version_id: str) -> Answer:
    return {
        "ARN": secret.arn,
        "Name": secret.name,
        "VersionId": version_id,
        "VersionStages": model.stages_of(secret.labels, version_id) or None,
    }
