"""Instance profiles: inert, because there are no instances here; tools make one beside each role and take it away first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement

from turnlock.accounts import Identity, Kind, draw_unique_id, identities_by_id, instance_profiles, spoken
from turnlock.core.action import Action, Answer, Request, Subject, no_resource
from turnlock.core.arn import AccountId
from turnlock.core.call import Call
from turnlock.core.pages import Section
from turnlock.errors import (
    DeleteConflictException,
    EntityAlreadyExistsException,
    LimitExceededException,
    NoSuchEntityException,
)
from turnlock.iam.lookup import PAGES, conditions, identity_subject, named_identity, tags_in
from turnlock.iam.permissions import require_pass_role
from turnlock.iam.shown import identity_members, tag_members
from turnlock.root_keys import Records
from turnlock.storage import Unit

MOST_PROFILES: Final = 1_000
"""Instance profiles of one account (IAM user guide, quotas)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceProfile:
    """One instance profile."""

    account_id: AccountId
    name: str
    path: str
    id: str
    created_at: datetime
    role_id: str | None = None
    """The unique id of its role; it has one at most."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """`arn:aws:iam::ACCOUNT:instance-profile/PATH/NAME`."""
        return f"arn:aws:iam::{self.account_id}:instance-profile{self.path}{self.name}"

    def evolve(self, **changes: Any) -> InstanceProfile:
        """Return a copy with these members changed."""
        return replace(self, **changes)


PROFILES: Final = Records(
    instance_profiles,
    InstanceProfile,
    lambda one: {"account_id": one.account_id, "name_key": spoken(one.name), "role_id": one.role_id},
)


def create_instance_profile(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateInstanceProfile. Raises EntityAlreadyExistsException, LimitExceededException."""
    if len(PROFILES.all(unit, instance_profiles.c.account_id == call.account_id)) >= MOST_PROFILES:
        raise LimitExceededException(f"Cannot exceed quota for InstanceProfilesPerAccount: {MOST_PROFILES}")
    profile = InstanceProfile(
        account_id=call.account_id,
        name=request["InstanceProfileName"],
        path=request.get("Path", "/"),
        id=draw_unique_id(unit.entropy, "AIPA"),
        created_at=unit.now,
        tags=tags_in(request),
    )
    taken = EntityAlreadyExistsException(f"Instance Profile {profile.name} already exists.")
    PROFILES.insert(unit, profile, taken=taken)
    return {"InstanceProfile": profile_members(unit, profile)}


def get_instance_profile(call: Call, request: Request, unit: Unit) -> Answer:
    """GetInstanceProfile."""
    return {"InstanceProfile": profile_members(unit, require_profile(call, request, unit))}


def list_instance_profiles(call: Call, request: Request, unit: Unit) -> Answer:
    """ListInstanceProfiles: those whose path begins with PathPrefix, by name; without tags (API reference)."""
    prefix = request.get("PathPrefix", "/")
    return _page(request, unit, call.account_id, keep=lambda one: one.path.startswith(prefix))


def list_instance_profiles_for_role(call: Call, request: Request, unit: Unit) -> Answer:
    """ListInstanceProfilesForRole."""
    role = named_identity(call, request, unit, Kind.ROLE)
    return _page(request, unit, call.account_id, instance_profiles.c.role_id == role.id)


def add_role_to_instance_profile(call: Call, request: Request, unit: Unit) -> Answer:
    """AddRoleToInstanceProfile: the caller must be allowed to pass the role to EC2. Raises LimitExceededException."""
    profile = require_profile(call, request, unit)
    role = named_identity(call, request, unit, Kind.ROLE)
    require_pass_role(unit, call, role.arn, "ec2.amazonaws.com")
    if profile.role_id is not None:
        raise LimitExceededException("Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
    PROFILES.replace(unit, profile, profile.evolve(role_id=role.id))
    return {}


def remove_role_from_instance_profile(call: Call, request: Request, unit: Unit) -> Answer:
    """RemoveRoleFromInstanceProfile. Raises NoSuchEntityException for a role that the profile has not."""
    profile = require_profile(call, request, unit)
    role = named_identity(call, request, unit, Kind.ROLE)
    if profile.role_id != role.id:
        raise NoSuchEntityException(f"Role {role.name} in instance profile {profile.name} cannot be found.")
    PROFILES.replace(unit, profile, profile.evolve(role_id=None))
    return {}


def delete_instance_profile(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteInstanceProfile. Raises DeleteConflictException while it has a role."""
    profile = require_profile(call, request, unit)
    if profile.role_id is not None:
        raise DeleteConflictException("Cannot delete entity, must remove roles from instance profile first.")
    PROFILES.delete(unit, profile)
    return {}


def profiles_of(unit: Unit, role: Identity) -> list[InstanceProfile]:
    """Return the instance profiles that have a role."""
    return PROFILES.all(
        unit,
        instance_profiles.c.account_id == role.account_id,
        instance_profiles.c.role_id == role.id,
    )


def require_profile(call: Call, request: Request, unit: Unit) -> InstanceProfile:
    """Return the profile that InstanceProfileName names. Raises NoSuchEntityException."""
    found = _named(call, request, unit)
    if found is None:
        raise NoSuchEntityException(f"Instance Profile {request['InstanceProfileName']} cannot be found.")
    return found


def profile_subject(call: Call, request: Request, unit: Unit) -> Subject:
    """Return the instance profile that a call is about, or will make."""
    name = request["InstanceProfileName"]
    found = _named(call, request, unit)
    new = f"arn:aws:iam::{call.account_id}:instance-profile{request.get('Path', '/')}{name}"
    # By its own name, not as the caller spells it: case does not tell two apart.
    arn, tags = (new, {}) if found is None else (found.arn, found.tags)
    return Subject(arn=arn, named=f"instance profile {name}", conditions=lambda: conditions(request, tags))


def _named(call: Call, request: Request, unit: Unit) -> InstanceProfile | None:
    return PROFILES.find(unit, account_id=call.account_id, name_key=spoken(request["InstanceProfileName"]))


def _page(
    request: Request,
    unit: Unit,
    account_id: AccountId,
    *where: ColumnElement[bool],
    keep: Callable[[InstanceProfile], bool] = lambda _: True,
) -> Answer:
    name = instance_profiles.c.name_key
    mine = instance_profiles.c.account_id == account_id, *where
    section: Section[InstanceProfile] = Section(
        name="Profile",
        read=lambda after, most: PROFILES.behind(unit, name, after, most, *mine),
        key=lambda one: spoken(one.name),
    )
    return PAGES.page_of_sections(
        request,
        [section],
        member="InstanceProfiles",
        show=lambda _, one: profile_members(unit, one, whole=False),
        keep=keep,
    )


def profile_members(unit: Unit, profile: InstanceProfile, *, whole: bool = True) -> dict[str, Any]:
    """Return the InstanceProfile of an answer; lists leave its tags out (`whole` False)."""
    ids = [] if profile.role_id is None else [profile.role_id]
    return {
        "Path": profile.path,
        "InstanceProfileName": profile.name,
        "InstanceProfileId": profile.id,
        "Arn": profile.arn,
        "CreateDate": profile.created_at,
        "Roles": [
            identity_members(unit, role, whole=False)
            for role in identities_by_id(unit, profile.account_id, ids)
        ],
        "Tags": (tag_members(profile.tags) or None) if whole else None,
    }


_OF_ROLE: Final = identity_subject(Kind.ROLE)

ACTIONS: Final = (
    Action(
        name="AddRoleToInstanceProfile",
        handler=add_role_to_instance_profile,
        subject=profile_subject,
        mutates=True,
    ),
    Action(
        name="CreateInstanceProfile", handler=create_instance_profile, subject=profile_subject, mutates=True
    ),
    Action(
        name="DeleteInstanceProfile", handler=delete_instance_profile, subject=profile_subject, mutates=True
    ),
    Action(name="GetInstanceProfile", handler=get_instance_profile, subject=profile_subject, mutates=False),
    Action(name="ListInstanceProfiles", handler=list_instance_profiles, subject=no_resource, mutates=False),
    Action(
        name="ListInstanceProfilesForRole",
        handler=list_instance_profiles_for_role,
        subject=_OF_ROLE,
        mutates=False,
    ),
    Action(
        name="RemoveRoleFromInstanceProfile",
        handler=remove_role_from_instance_profile,
        subject=profile_subject,
        mutates=True,
    ),
)
