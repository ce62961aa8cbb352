"""Secrets, versions and staging labels as values, and the rules by which labels move.

Pure: no store, no clock, no randomness. The rules are those of the Secrets Manager API reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from turnlock.core.arn import AccountId, Arn, Region, partition_of
from turnlock.errors import (
    InvalidParameterException,
    InvalidRequestException,
    LimitExceededException,
    ValidationException,
)

AWSCURRENT: Final = "AWSCURRENT"
AWSPENDING: Final = "AWSPENDING"
AWSPREVIOUS: Final = "AWSPREVIOUS"

MOST_LABELS: Final = 20
"""Staging labels over all versions of a secret (AWS quota)."""

MOST_TAGS: Final = 50
"""Tags of a secret (AWS quota)."""

MOST_BYTES: Final = 65_536
"""Bytes of a value (AWS quota; the service model counts the characters of a text)."""

MOST_VERSIONS: Final = 100
"""Versions of a secret beyond which those without a label are removed (API reference, PutSecretValue)."""

SHED_AFTER: Final = timedelta(hours=24)
"""Versions younger than this are not removed (API reference, PutSecretValue)."""

_NAME = re.compile(r"[A-Za-z0-9/_+=.@!-]+")
_LONGEST_NAME: Final = 512
_SUFFIX = re.compile(r"[A-Za-z0-9]{6}")

Labels = Mapping[str, str]
"""Staging label → id of the one version that carries it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReference:
    """A SecretId as a caller wrote it, taken apart."""

    account_id: AccountId
    region: Region
    name: str
    suffix: str | None
    """The six characters that end a full ARN; None for a name or a partial ARN."""

    @property
    def partial(self) -> SecretReference | None:
        """The same ARN read as a partial one, of a name that ends like a suffix (`…-secret`)."""
        if self.suffix is None:
            return None
        return replace(self, name=f"{self.name}-{self.suffix}", suffix=None)


def parse_secret_id(secret_id: str, account_id: AccountId, region: Region) -> SecretReference:
    """Read a name, a full ARN or a partial ARN; a bare name is one of the caller's account and Region.

    An ARN that ends in a hyphen and six alphanumerics is read as a full one; where it names nothing, it may be a partial ARN of a
    name that ends so (`SecretReference.partial`). Raises ValidationException for a name with a character that none has,
    InvalidParameterException for an ARN that is not a secret's.
    """
    if not secret_id.startswith("arn:"):
        check_name(secret_id)
        return SecretReference(account_id=account_id, region=region, name=secret_id, suffix=None)
    try:
        arn = Arn.parse(secret_id)
    except ValueError:
        raise InvalidParameterException("Invalid ARN.") from None
    kind, _, rest = arn.resource.partition(":")
    if (arn.partition, arn.service, kind) != (
        partition_of(arn.region),
        "secretsmanager",
        "secret",
    ) or not rest:
        raise InvalidParameterException("Invalid ARN.")
    check_name(rest)
    owner, home = AccountId(arn.account_id), Region(arn.region)
    if len(rest) > 7 and rest[-7] == "-" and _SUFFIX.fullmatch(rest[-6:]):
        return SecretReference(account_id=owner, region=home, name=rest[:-7], suffix=rest[-6:])
    return SecretReference(account_id=owner, region=home, name=rest, suffix=None)


def is_name(name: str) -> bool:
    """Tell whether a secret can have this name at all."""
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raise ValidationException unless the name has only the characters AWS allows; its length the service model bounds."""
    if _NAME.fullmatch(name) is None:
        raise ValidationException(
            "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!"
        )


def check_text(member: str, text: str) -> None:
    """Raise InvalidParameterException for text that holds U+0000, which not every store can keep."""
    if "\0" in text:
        raise InvalidParameterException(f"{member} must not contain the null character.")


def secret_arn(account_id: str, region: str, name: str, suffix: str) -> str:
    """Return a secret's full ARN."""
    return f"arn:{partition_of(region)}:secretsmanager:{region}:{account_id}:secret:{name}-{suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A secret's rotation settings; the rules are kept as AWS shows them."""

    enabled: bool | None = None
    """None when rotation was never configured, False after CancelRotateSecret."""
    function_arn: str | None = None
    rules: Mapping[str, Any] | None = None
    """AutomaticallyAfterDays, Duration, ScheduleExpression, as they were given."""
    last_rotated_at: datetime | None = None
    next_rotation_at: datetime | None = None
    """The latest moment of the next window: what DescribeSecret shows."""
    opens_at: datetime | None = None
    """When that window opens."""
    starts_at: datetime | None = None
    """When this secret's rotation starts: staggered inside the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """One secret's metadata and staging labels; values live in versions."""

    account_id: AccountId
    region: Region
    name: str
    suffix: str
    description: str | None = None
    kms_key_id: str | None = None
    """As the caller gave it; None for aws/secretsmanager."""
    created_at: datetime
    last_changed_at: datetime
    last_accessed_at: datetime | None = None
    deleted_at: datetime | None = None
    """When its deletion was asked for; None for a living secret."""
    deletion_at: datetime | None = None
    """When the recovery window ends."""
    rotation: Rotation = field(default_factory=Rotation)
    secret_type: str | None = None
    """The partner's type of a managed external secret; None for all others."""
    owning_service: str | None = None
    """The service that made and manages this secret, such as `rds`."""
    external_metadata: Sequence[Mapping[str, str]] | None = None
    external_role_arn: str | None = None
    primary_region: Region | None = None
    """The primary's Region, on a primary that has replicas and on each replica; None for a secret on its own."""
    labels: Labels = field(default_factory=dict)
    arn: str = field(init=False, compare=False)
    """The full ARN, suffix included."""

    def __post_init__(self) -> None:
        arn = secret_arn(self.account_id, self.region, self.name, self.suffix)
        object.__setattr__(self, "arn", arn)

    @property
    def is_replica(self) -> bool:
        """Whether it follows a primary in another Region."""
        return self.primary_region not in (None, self.region)

    @property
    def has_replicas(self) -> bool:
        """Whether it is a primary that others follow."""
        return self.primary_region == self.region

    def evolve(self, **changes: Any) -> Secret:
        """Return a copy with these fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version: its content never changes once it has any."""

    version_id: str
    created_at: datetime
    kind: str | None
    """`string`, `binary`, or None for a placeholder that has no value yet."""
    sealed: bytes | None = field(repr=False)
    last_accessed_at: datetime | None = None
    """The day on which it was last read."""


def stages_of(labels: Labels, version_id: str) -> list[str]:
    """Return the labels that a version carries, sorted."""
    return sorted(label for label, holder in labels.items() if holder == version_id)


def versions_to_stages(labels: Labels) -> dict[str, list[str]]:
    """Turn label → version around, as DescribeSecret shows it: only versions that carry a label."""
    stages: dict[str, list[str]] = {}
    for label in sorted(labels):
        stages.setdefault(labels[label], []).append(label)
    return stages


def attach(labels: Labels, version_id: str, stages: Iterable[str]) -> dict[str, str]:
    """Attach `stages` to a version, taking each from the version that has it.

    When AWSCURRENT moves, AWSPREVIOUS moves to the version that lost it, unless `stages` moves AWSPREVIOUS too. Raises
    LimitExceededException beyond MOST_LABELS.
    """
    return _within_limit(_moved(labels, version_id, stages))


def _moved(labels: Labels, version_id: str, stages: Iterable[str]) -> dict[str, str]:
    wanted = list(dict.fromkeys(stages))
    moved = {**labels, **dict.fromkeys(wanted, version_id)}
    loser = labels.get(AWSCURRENT)
    if AWSCURRENT in wanted and loser not in (None, version_id) and AWSPREVIOUS not in wanted:
        moved[AWSPREVIOUS] = str(loser)
    return moved


def _within_limit(labels: dict[str, str]) -> dict[str, str]:
    # AWSPENDING beside AWSCURRENT goes when the rotation has succeeded; until then it must not keep the label from moving.
    leaving = labels.get(AWSPENDING, "") == labels.get(AWSCURRENT)
    if len(labels) - leaving > MOST_LABELS:
        raise LimitExceededException(f"A secret can have at most {MOST_LABELS} staging labels.")
    return labels


def put_labels(labels: Labels, version_id: str, stages: Iterable[str] | None) -> dict[str, str]:
    """Return the labels after a new version was put with these stages.

    Without stages, or as the first version, it becomes AWSCURRENT. A new AWSCURRENT takes AWSPENDING off a version that
    a rotation left it on: that rotation is abandoned (user guide, "Troubleshoot rotation").
    Raises LimitExceededException beyond MOST_LABELS.
    """
    wanted = list(stages) if stages is not None else [AWSCURRENT]
    if AWSCURRENT not in labels and AWSCURRENT not in wanted:
        wanted.append(AWSCURRENT)
    moved = _moved(labels, version_id, wanted)
    if AWSCURRENT in wanted and moved.get(AWSPENDING) not in (None, version_id):
        del moved[AWSPENDING]
    return _within_limit(moved)


def promoted_labels(labels: Labels) -> dict[str, str]:
    """Return the labels of a replica that StopReplicationToReplica makes a secret of its own.

    It loses AWSPENDING: no rotation of this secret would finish that version, and AWSPENDING would keep new rotations
    from starting.
    """
    pending = labels.get(AWSPENDING)
    if pending == labels.get(AWSCURRENT):
        return dict(labels)
    return {label: version for label, version in labels.items() if label != AWSPENDING}


def update_labels(
    labels: Labels, stage: str, *, move_to: str | None, remove_from: str | None
) -> dict[str, str]:
    """Return the labels after UpdateSecretVersionStage.

    A version that gets AWSCURRENT keeps its other labels, AWSPENDING too: a rotation function may still read it by that
    label. `settled_labels` takes AWSPENDING away when the rotation has succeeded. Raises InvalidParameterException when
    the caller did not name the version that has the label, InvalidRequestException when the secret would lose
    AWSCURRENT, and LimitExceededException.
    """
    holder = labels.get(stage)
    if move_to is None and remove_from is None:
        raise InvalidParameterException("You must specify MoveToVersionId, RemoveFromVersionId, or both.")
    if remove_from is not None and remove_from != holder:
        raise InvalidParameterException(
            f"The parameter RemoveFromVersionId is incorrect. Staging label {stage} is not attached to version"
            f" {remove_from}."
        )
    if move_to is None:
        if stage == AWSCURRENT:
            raise InvalidRequestException(
                "You can't remove AWSCURRENT from a version without moving it to another."
            )
        return {label: version for label, version in labels.items() if label != stage}
    if holder is not None and remove_from is None and holder != move_to:
        raise InvalidParameterException(
            f"The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to version"
            f" {holder}, so you must explicitly reference that version in RemoveFromVersionId."
        )
    return _within_limit(_moved(labels, move_to, [stage]))


def settled_labels(labels: Labels, token: str) -> dict[str, str]:
    """Return the labels after a rotation has succeeded: AWSPENDING is no longer on its version `token`."""
    return {label: holder for label, holder in labels.items() if (label, holder) != (AWSPENDING, token)}
