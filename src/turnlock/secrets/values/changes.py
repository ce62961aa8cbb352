"""Changes to versions and labels that more than one action makes, each announced to the rooms that follow them."""

from __future__ import annotations

from dataclasses import dataclass, field

from turnlock.secrets.labels.clean_up import make_room
from turnlock.secrets.model import AWSPENDING, Labels, Secret, Version, attach, settled_labels
from turnlock.secrets.store import delete_version, find_version, insert_version, save_labels
from turnlock.secrets.store import update_secret as write_secret
from turnlock.secrets.values.content import copy_value
from turnlock.storage import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsChanged:
    """A secret's staging labels moved."""

    secret: Secret
    """As it is now."""
    before: Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretChanged:
    """A secret's columns, tags, policy, versions or labels changed: replicas must follow."""

    secret: Secret
    """The secret before the change. Subscribers that need the present one read it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretDoomed:
    """A secret was scheduled for deletion, or deleted at once."""

    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRestored:
    """RestoreSecret took back a scheduled deletion."""

    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationTokenPresented:
    """PutSecretValue came with a RotationToken. The rotation room refuses a token that is not that of the running step."""

    secret: Secret
    version_id: str
    rotation_token: str = field(repr=False)


def update_secret(unit: Unit, secret: Secret) -> None:
    """Write the secret's own columns (not its labels) as they now are, and announce it."""
    write_secret(unit, secret)
    unit.announce(SecretChanged(secret=secret))


def move_labels(unit: Unit, secret: Secret, labels: Labels) -> Secret:
    """Set the secret's labels, set LastChangedDate, and announce the change."""
    changed = save_labels(unit, secret, labels).evolve(last_changed_at=unit.now)
    update_secret(unit, changed)
    if secret.labels != changed.labels:
        unit.announce(LabelsChanged(secret=changed, before=secret.labels))
    return changed


def put_placeholder(unit: Unit, secret: Secret, token: str, *, copy_of: str | None = None) -> Secret:
    """Put AWSPENDING on a version `token` that has no value yet, making it when it is new.

    With `copy_of`, a new version holds that version's value instead: the configuration test of
    RotateImmediately=false logs in with it.
    """
    if find_version(unit, secret, token) is None:
        version = Version(version_id=token, created_at=unit.now, kind=None, sealed=None)
        original = find_version(unit, secret, copy_of) if copy_of is not None else None
        if original is not None:
            version = copy_value(unit, secret, original, token)
        insert_version(unit, secret, version)
    labelled = move_labels(unit, secret, attach(secret.labels, token, [AWSPENDING]))
    make_room(unit, labelled)  # a rotation begins also where too many are too young to go
    return labelled


def settle_labels(unit: Unit, secret: Secret, token: str) -> Secret:
    """Take AWSPENDING from the version `token`, whose rotation has succeeded."""
    return move_labels(unit, secret, settled_labels(secret.labels, token))


def drop_version(unit: Unit, secret: Secret, version_id: str) -> Secret:
    """Delete a version and take its labels away."""
    kept = {label: holder for label, holder in secret.labels.items() if holder != version_id}
    changed = move_labels(unit, secret, kept)
    delete_version(unit, secret, version_id)
    return changed
