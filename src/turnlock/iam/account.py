"""The account as a whole, and the reads that tools make before they delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from turnlock.accounts import (
    ACCESS_KEYS,
    ATTACHMENTS,
    INLINE_CHARACTERS,
    POLICY_CHARACTERS,
    TRUST_CHARACTERS,
    VERSIONS,
    Identity,
    Kind,
    ManagedPolicy,
    count_identities,
    count_policies,
    count_versions,
    identities_by_id,
    section_of_identities,
    section_of_policies,
    store,
    versions_of,
)
from turnlock.core.action import Action, Answer, Request, no_resource
from turnlock.core.call import Call
from turnlock.core.pages import Section
from turnlock.iam.instance_profiles import profile_members, profiles_of
from turnlock.iam.lookup import PAGES, identity_subject, named_identity
from turnlock.iam.mfa.store import count_devices, devices_of
from turnlock.iam.policies.documents import shown
from turnlock.iam.policies.managed import policy_members
from turnlock.iam.providers.store import count_providers
from turnlock.iam.shown import boundary_members, identity_members, tag_members, version_members
from turnlock.storage import Unit

WHOLE: Final = 20
"""Users, groups, roles and policies with all that they have, on a page: an answer of more takes too long to make."""
_QUOTAS: Final = {
    "AccessKeysPerUserQuota": ACCESS_KEYS,
    "AttachedPoliciesPerGroupQuota": ATTACHMENTS,
    "AttachedPoliciesPerRoleQuota": ATTACHMENTS,
    "AttachedPoliciesPerUserQuota": ATTACHMENTS,
    "AssumeRolePolicySizeQuota": TRUST_CHARACTERS,
    "GroupPolicySizeQuota": INLINE_CHARACTERS[Kind.GROUP],
    "GroupsPerUserQuota": ATTACHMENTS,
    "PolicySizeQuota": POLICY_CHARACTERS,
    "RolePolicySizeQuota": INLINE_CHARACTERS[Kind.ROLE],
    "UserPolicySizeQuota": INLINE_CHARACTERS[Kind.USER],
    "VersionsPerPolicyQuota": VERSIONS,
}


def get_account_summary(call: Call, _request: Request, unit: Unit) -> Answer:
    """GetAccountSummary: how much there is of everything that this server keeps, and the quotas."""
    account = call.account_id
    root_keys = store.access_keys_of(unit, account, account)
    return {
        "SummaryMap": {
            **{f"{kind.value}s": count_identities(unit, account, kind) for kind in Kind},
            "Policies": count_policies(unit, account),
            "PolicyVersionsInUse": count_versions(unit, account),
            "Providers": count_providers(unit, account),
            "MFADevices": count_devices(unit, account),
            "MFADevicesInUse": count_devices(unit, account, enabled=True),
            "AccountMFAEnabled": int(bool(devices_of(unit, account, account))),
            "AccountAccessKeysPresent": int(bool(root_keys)),
            "AccountPasswordPresent": 0,
            **_QUOTAS,
        }
    }


def get_account_authorization_details(call: Call, request: Request, unit: Unit) -> Answer:
    """GetAccountAuthorizationDetails: who holds what, whole; of the kinds that Filter names, in pages."""
    account, wanted = call.account_id, set(request.get("Filter", ()))
    sections: list[Section[Any]] = [
        section_of_identities(unit, account, kind) for kind in Kind if not wanted or kind.value in wanted
    ]
    if not wanted or "LocalManagedPolicy" in wanted:
        sections.append(section_of_policies(unit, account))

    def show(section: str, one: Identity | ManagedPolicy) -> tuple[str, dict[str, Any]]:
        return section, _detail(unit, one) if isinstance(one, Identity) else _policy_detail(unit, one)

    answer = dict(PAGES.page_of_sections(request, sections, member="all", show=show, most=WHOLE))
    shown_now = answer.pop("all")
    lists = {**{kind.value: f"{kind.value}DetailList" for kind in Kind}, "Policy": "Policies"}
    return {
        **answer,
        **{name: [one for of, one in shown_now if of == section] for section, name in lists.items()},
    }


def _profiles(unit: Unit, role: Identity) -> list[dict[str, Any]]:
    return [profile_members(unit, one, whole=False) for one in profiles_of(unit, role)]


def _policy_detail(unit: Unit, policy: ManagedPolicy) -> dict[str, Any]:
    versions = [version_members(policy, one, document=True) for one in versions_of(unit, policy)]
    found = {**policy_members(unit, policy), "PolicyVersionList": versions}
    found.pop("Tags")
    return found


def _detail(unit: Unit, one: Identity) -> dict[str, Any]:
    found = identity_members(unit, one)
    for beside in ("Description", "MaxSessionDuration"):
        found.pop(beside, None)
    found[f"{one.kind.value}PolicyList"] = [
        {"PolicyName": name, "PolicyDocument": shown(document)} for name, document in one.inline.items()
    ]
    found["AttachedManagedPolicies"] = [
        {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in one.attached
    ]
    if one.kind is Kind.USER:
        groups = {group.id: group.name for group in identities_by_id(unit, one.account_id, one.groups)}
        found["GroupList"] = [groups[group] for group in one.groups]
    if one.kind is Kind.ROLE:
        found |= {"InstanceProfileList": _profiles(unit, one), "PermissionsBoundary": boundary_members(one)}
        found["Tags"] = tag_members(one.tags)
    return found


def list_account_aliases(_call: Call, _request: Request, _unit: Unit) -> Answer:
    """ListAccountAliases: none; there is no sign-in address that one would be part of."""
    return {"AccountAliases": [], "IsTruncated": False}


def _none_of_a_user(member: str) -> Callable[[Call, Request, Unit], Answer]:
    """Return a list of what users cannot have here, so that tools may go on to delete the user."""

    def listed(call: Call, request: Request, unit: Unit) -> Answer:
        if "UserName" in request:
            named_identity(call, request, unit, Kind.USER)
        return {member: [], "IsTruncated": False}

    return listed


_NONE_OF_A_USER: Final = {
    "ListSigningCertificates": "Certificates",
    "ListSSHPublicKeys": "SSHPublicKeys",
    "ListServiceSpecificCredentials": "ServiceSpecificCredentials",
}

ACTIONS: Final = (
    Action(
        name="GetAccountAuthorizationDetails",
        handler=get_account_authorization_details,
        subject=no_resource,
        mutates=False,
    ),
    Action(name="GetAccountSummary", handler=get_account_summary, subject=no_resource, mutates=False),
    Action(name="ListAccountAliases", handler=list_account_aliases, subject=no_resource, mutates=False),
    *(
        Action(name=name, handler=_none_of_a_user(member), subject=identity_subject(Kind.USER), mutates=False)
        for name, member in _NONE_OF_A_USER.items()
    ),
)
