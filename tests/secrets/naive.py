"""Secrets as a few dictionaries: versions, labels, deletion and replicas, in memory.

Source: docs/aws-behaviour.md#versions and the API reference. Labels are kept with the version that has them; the code that this is compared with
keeps the version of each label.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta


class Refusal(Exception):
    """What a call must be refused with."""


@dataclass
class NaiveVersion:
    value: str
    labels: set[str] = field(default_factory=set)


@dataclass
class NaiveSecret:
    versions: dict[str, NaiveVersion] = field(default_factory=dict)
    """By version id."""
    purged_at: datetime | None = None
    """When it goes for good; None while it lives."""
    is_replica: bool = False
    has_replica: bool = False

    def holder(self, label: str) -> str | None:
        return next((one for one, version in self.versions.items() if label in version.labels), None)

    def give(self, version_id: str, label: str) -> None:
        """Attach a label to one version, off any other; AWSPREVIOUS follows the version that AWSCURRENT leaves."""
        loser = self.holder(label)
        for version in self.versions.values():
            version.labels.discard(label)
        self.versions[version_id].labels.add(label)
        if label == "AWSCURRENT" and loser is not None and loser != version_id:
            self.give(loser, "AWSPREVIOUS")

    def stages(self) -> dict[str, list[str]]:
        return {one: sorted(version.labels) for one, version in self.versions.items() if version.labels}


class NaiveRegion:
    """The secrets of one Region, by name."""

    def __init__(self) -> None:
        self.secrets: dict[str, NaiveSecret] = {}

    def living(self, name: str, *, to_write: bool) -> NaiveSecret:
        secret = self.secrets.get(name)
        if secret is None:
            raise Refusal("ResourceNotFoundException")
        if to_write and secret.is_replica:
            raise Refusal("InvalidParameterException")
        if secret.purged_at is not None:
            raise Refusal("InvalidRequestException")
        return secret

    def create(self, name: str, token: str, value: str) -> None:
        secret = self.secrets.get(name)
        if secret is None:
            self.secrets[name] = NaiveSecret(versions={token: NaiveVersion(value, {"AWSCURRENT"})})
        elif secret.purged_at is not None:
            raise Refusal("InvalidRequestException")
        elif token not in secret.versions or secret.versions[token].value != value:
            raise Refusal("ResourceExistsException")

    def put(self, name: str, token: str, value: str, stages: list[str] | None) -> None:
        secret = self.living(name, to_write=True)
        if token in secret.versions:
            if secret.versions[token].value != value:
                raise Refusal("ResourceExistsException")
            return
        secret.versions[token] = NaiveVersion(value)
        wanted = ["AWSCURRENT"] if stages is None else stages
        # AWSCURRENT first: a caller who gives AWSPREVIOUS too has the last word on it.
        for label in sorted(wanted):
            secret.give(token, label)
        pending = secret.holder("AWSPENDING")
        if "AWSCURRENT" in wanted and pending not in (None, token):
            secret.versions[str(pending)].labels.discard("AWSPENDING")

    def move(self, name: str, label: str, to: str | None, off: str | None) -> None:
        secret = self.living(name, to_write=True)
        if any(one is not None and one not in secret.versions for one in (to, off)):
            raise Refusal("ResourceNotFoundException")
        holder = secret.holder(label)
        if (to is None and off is None) or (off is not None and off != holder):
            raise Refusal("InvalidParameterException")
        if to is None:
            if label == "AWSCURRENT":
                raise Refusal("InvalidRequestException")
            secret.versions[str(off)].labels.discard(label)
            return
        if off is None and holder not in (None, to):
            raise Refusal("InvalidParameterException")
        secret.give(to, label)

    def read(self, name: str, version_id: str | None, label: str | None) -> str:
        secret = self.living(name, to_write=False)
        found = version_id or secret.holder(label or "AWSCURRENT")
        if found not in secret.versions:
            raise Refusal("ResourceNotFoundException")
        version = secret.versions[str(found)]
        if version_id is not None and label is not None and label not in version.labels:
            raise Refusal("InvalidRequestException")
        return version.value

    def delete(self, name: str, now: datetime, days: int | None) -> None:
        """Delete after some days, or at once (None)."""
        secret = self.secrets.get(name)
        if secret is None:
            if days is None:
                return
            raise Refusal("ResourceNotFoundException")
        if secret.is_replica or secret.has_replica:
            raise Refusal("InvalidParameterException")
        if days is None:
            del self.secrets[name]
        elif secret.purged_at is not None:
            raise Refusal("InvalidRequestException")
        else:
            secret.purged_at = now + timedelta(days=days)

    def restore(self, name: str) -> None:
        if name not in self.secrets:
            raise Refusal("ResourceNotFoundException")
        self.secrets[name].purged_at = None

    def purge(self, now: datetime) -> None:
        self.secrets = {
            name: secret
            for name, secret in self.secrets.items()
            if secret.purged_at is None or secret.purged_at > now
        }


def copied(primary: NaiveSecret) -> NaiveSecret:
    """Return what a replica of a secret is."""
    return NaiveSecret(versions=copy.deepcopy(primary.versions), is_replica=True)


def promoted(replica: NaiveSecret) -> NaiveSecret:
    """Return what a replica is on its own: nobody would finish a rotation that its primary had pending."""
    own = NaiveSecret(versions=copy.deepcopy(replica.versions))
    pending = own.holder("AWSPENDING")
    if pending is not None and pending != own.holder("AWSCURRENT"):
        own.versions[pending].labels.discard("AWSPENDING")
    return own
