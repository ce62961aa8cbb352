"""Customer managed policies with their versions, and AWS's own to be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from turnlock.accounts import (
    AWS_MANAGED,
    BOUNDARY_USE,
    MADE,
    POLICIES,
    POLICY_USE,
    VERSIONS,
    VERSIONS_KEPT,
    AwsManagedPolicy,
    ManagedPolicy,
    PolicyVersion,
    anyone_holds,
    count_uses,
    draw_unique_id,
    section_of_policies,
    spoken,
    versions_of,
)
from turnlock.core.action import Action, Answer, Request, no_resource
from turnlock.core.arn import AccountId
from turnlock.core.call import Call
from turnlock.core.pages import Section
from turnlock.errors import (
    DeleteConflictException,
    EntityAlreadyExistsException,
    LimitExceededException,
    NoSuchEntityException,
)
from turnlock.iam.lookup import PAGES, new_policy_subject, policy_subject, require_policy, tags_in
from turnlock.iam.policies.documents import check_managed_policy
from turnlock.iam.shown import tag_members, version_members
from turnlock.storage import Unit


def create_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """CreatePolicy: with its first version. Raises EntityAlreadyExistsException, MalformedPolicyDocumentException."""
    check_managed_policy(request["PolicyDocument"])
    policy = ManagedPolicy(
        account_id=call.account_id,
        id=draw_unique_id(unit.entropy, "ANPA"),
        name=request["PolicyName"],
        path=request.get("Path", "/"),
        created_at=unit.now,
        updated_at=unit.now,
        default_version=1,
        newest_version=1,
        description=request.get("Description"),
        tags=tags_in(request),
    )
    taken = f"A policy called {policy.name} already exists. Duplicate names are not allowed."
    POLICIES.insert(unit, policy, taken=EntityAlreadyExistsException(taken))
    _add(unit, policy, request["PolicyDocument"])
    return {"Policy": policy_members(unit, policy)}


def get_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """GetPolicy: the account's own, or one of AWS's."""
    known = AWS_MANAGED.get(request["PolicyArn"])
    if known is not None:
        return {"Policy": _shown_aws(unit, call.account_id, known)}
    return {"Policy": policy_members(unit, _own(call, request, unit))}


def list_policies(call: Call, request: Request, unit: Unit) -> Answer:
    """ListPolicies: by Scope (AWS, Local or All), path, and whether anyone holds them."""
    scope, prefix = request.get("Scope", "All"), request.get("PathPrefix", "/")
    counted = {
        "PermissionsPolicy": ("AttachmentCount",),
        "PermissionsBoundary": ("PermissionsBoundaryUsageCount",),
    }.get(str(request.get("PolicyUsageFilter")), ("AttachmentCount", "PermissionsBoundaryUsageCount"))
    must = request.get("OnlyAttached", False) or "PolicyUsageFilter" in request
    sections = {"AWS": [_section_of_aws(unit, call)], "Local": [_section_of_own(unit, call)]}
    return PAGES.page_of_sections(
        request,
        sections.get(scope, [*sections["Local"], *sections["AWS"]]),
        member="Policies",
        show=lambda _, one: one,
        keep=lambda one: one["Path"].startswith(prefix) and (not must or any(one[name] for name in counted)),
    )


def delete_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """DeletePolicy. Raises DeleteConflictException while anyone holds it, or while it has further versions."""
    policy = require_policy(unit, call.account_id, request["PolicyArn"])
    if anyone_holds(unit, call.account_id, policy.arn):
        raise DeleteConflictException("Cannot delete a policy attached to entities.")
    versions = versions_of(unit, policy)
    if len(versions) > 1:
        raise DeleteConflictException(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions."
            " The default version is deleted with the policy."
        )
    for version in versions:
        VERSIONS_KEPT.delete(unit, version)
    POLICIES.delete(unit, policy)
    return {}


def create_policy_version(call: Call, request: Request, unit: Unit) -> Answer:
    """CreatePolicyVersion, as default where SetAsDefault. Raises LimitExceededException for a sixth."""
    policy = require_policy(unit, call.account_id, request["PolicyArn"])
    check_managed_policy(request["PolicyDocument"])
    if len(versions_of(unit, policy)) >= VERSIONS:
        raise LimitExceededException(
            f"A managed policy can have up to {VERSIONS} versions. Before you create a new version, you must delete an"
            " existing version."
        )
    number = policy.newest_version + 1
    default = number if request.get("SetAsDefault", False) else policy.default_version
    changed = policy.evolve(newest_version=number, default_version=default, updated_at=unit.now)
    POLICIES.replace(unit, policy, changed)
    version = _add(unit, changed, request["PolicyDocument"])
    return {"PolicyVersion": version_members(changed, version, document=False)}


def get_policy_version(call: Call, request: Request, unit: Unit) -> Answer:
    """GetPolicyVersion: with its document."""
    known = AWS_MANAGED.get(request["PolicyArn"])
    if known is not None:
        policy, versions = _as_managed(known, call.account_id)
    else:
        policy = _own(call, request, unit)
        versions = versions_of(unit, policy)
    version = _version(policy, versions, request["VersionId"])
    return {"PolicyVersion": version_members(policy, version, document=True)}


def list_policy_versions(call: Call, request: Request, unit: Unit) -> Answer:
    """ListPolicyVersions: the newest first, without documents."""
    known = AWS_MANAGED.get(request["PolicyArn"])
    if known is not None:
        policy, versions = _as_managed(known, call.account_id)
    else:
        policy = _own(call, request, unit)
        versions = versions_of(unit, policy)
    return PAGES.page(
        request,
        versions,
        lambda one: f"{10**9 - one.number:010}",
        "Versions",
        lambda one: version_members(policy, one, document=False),
    )


def set_default_policy_version(call: Call, request: Request, unit: Unit) -> Answer:
    """SetDefaultPolicyVersion: what the policy says from the commit on."""
    policy = require_policy(unit, call.account_id, request["PolicyArn"])
    version = _version(policy, versions_of(unit, policy), request["VersionId"])
    POLICIES.replace(unit, policy, policy.evolve(default_version=version.number, updated_at=unit.now))
    return {}


def delete_policy_version(call: Call, request: Request, unit: Unit) -> Answer:
    """DeletePolicyVersion. Raises DeleteConflictException for the default version."""
    policy = require_policy(unit, call.account_id, request["PolicyArn"])
    version = _version(policy, versions_of(unit, policy), request["VersionId"])
    if version.number == policy.default_version:
        raise DeleteConflictException("Cannot delete the default version of a policy.")
    VERSIONS_KEPT.delete(unit, version)
    return {}


def _section_of_own(unit: Unit, call: Call) -> Section[dict[str, Any]]:
    own = section_of_policies(unit, call.account_id)

    def read(after: str | None, most: int) -> list[dict[str, Any]]:
        found = own.read(after, most)
        uses = count_uses(unit, call.account_id, [one.arn for one in found])
        return [_members(one, one.arn, uses, tags=False) for one in found]

    return Section(name="Local", read=read, key=lambda one: spoken(one["PolicyName"]))


def _section_of_aws(unit: Unit, call: Call) -> Section[dict[str, Any]]:
    def read(after: str | None, most: int) -> list[dict[str, Any]]:
        known = [one for arn, one in sorted(AWS_MANAGED.items()) if after is None or arn > after][:most]
        uses = count_uses(unit, call.account_id, [one.arn for one in known])
        return [_members(_as_managed(one, call.account_id)[0], one.arn, uses) for one in known]

    return Section(name="AWS", read=read, key=lambda one: str(one["Arn"]))


def _own(call: Call, request: Request, unit: Unit) -> ManagedPolicy:
    return require_policy(unit, call.account_id, request["PolicyArn"])


def _add(unit: Unit, policy: ManagedPolicy, document: str) -> PolicyVersion:
    version = PolicyVersion(
        account_id=policy.account_id,
        policy_id=policy.id,
        number=policy.newest_version,
        document=document,
        created_at=unit.now,
    )
    VERSIONS_KEPT.insert(unit, version, taken=EntityAlreadyExistsException("The version exists already."))
    return version


def _version(policy: ManagedPolicy, versions: list[PolicyVersion], version_id: str) -> PolicyVersion:
    for version in versions:
        if version.version_id == version_id:
            return version
    raise NoSuchEntityException(
        f"Policy {policy.arn} version {version_id} does not exist or is not attachable."
    )


def policy_members(unit: Unit, policy: ManagedPolicy, *, tags: bool = True) -> dict[str, Any]:
    """Return the Policy of an answer; lists leave description and tags out."""
    return _members(policy, policy.arn, count_uses(unit, policy.account_id, [policy.arn]), tags=tags)


def _members(
    policy: ManagedPolicy, arn: str, uses: Mapping[tuple[str, str], int], *, tags: bool = True
) -> dict[str, Any]:
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.id,
        "Arn": arn,
        "Path": policy.path,
        "DefaultVersionId": f"v{policy.default_version}",
        "AttachmentCount": uses.get((POLICY_USE, arn), 0),
        "PermissionsBoundaryUsageCount": uses.get((BOUNDARY_USE, arn), 0),
        "IsAttachable": True,
        "Description": policy.description if tags else None,
        "CreateDate": policy.created_at,
        "UpdateDate": policy.updated_at,
        "Tags": tag_members(policy.tags) if tags else None,
    }


def _shown_aws(unit: Unit, account_id: AccountId, known: AwsManagedPolicy) -> dict[str, Any]:
    policy, _ = _as_managed(known, account_id)
    return _members(policy, known.arn, count_uses(unit, account_id, [known.arn]))


def _as_managed(known: AwsManagedPolicy, account_id: AccountId) -> tuple[ManagedPolicy, list[PolicyVersion]]:
    """Return a policy of AWS in the form of an account's own."""
    policy = ManagedPolicy(
        account_id=account_id,
        id=known.id,
        name=known.name,
        path=known.path,
        created_at=MADE,
        updated_at=MADE,
        default_version=1,
        newest_version=1,
        description=known.description,
    )
    version = PolicyVersion(
        account_id=account_id, policy_id=known.id, number=1, document=known.document, created_at=MADE
    )
    return policy, [version]


ACTIONS: Final = (
    Action(name="CreatePolicy", handler=create_policy, subject=new_policy_subject, mutates=True),
    Action(name="CreatePolicyVersion", handler=create_policy_version, subject=policy_subject, mutates=True),
    Action(name="DeletePolicy", handler=delete_policy, subject=policy_subject, mutates=True),
    Action(name="DeletePolicyVersion", handler=delete_policy_version, subject=policy_subject, mutates=True),
    Action(name="GetPolicy", handler=get_policy, subject=policy_subject, mutates=False),
    Action(name="GetPolicyVersion", handler=get_policy_version, subject=policy_subject, mutates=False),
    Action(name="ListPolicies", handler=list_policies, subject=no_resource, mutates=False),
    Action(name="ListPolicyVersions", handler=list_policy_versions, subject=policy_subject, mutates=False),
    Action(
        name="SetDefaultPolicyVersion",
        handler=set_default_policy_version,
        subject=policy_subject,
        mutates=True,
    ),
)
