"""Accounts: users, groups and roles as rows, access keys, sessions, signing keys.

What it does: makes accounts and their root access keys, issues and ends temporary credentials, finds the principal that
a request claims, caches signing keys, and gives the policies of a principal to the gate. `entities` has the rows of
IAM.

What it trusts: `kms` for sealing, and the store's rows only if their MACs and secrets verify. It does not verify a
signature again that wire has verified. What it must never do: keep or log a secret access key or a session token, or
accept a key that was changed or deleted before the request began.
"""

from turnlock.accounts.attempts import NO_ATTEMPTS, Attempts
from turnlock.accounts.credentials import (
    accounts,
    create_account,
    end_session,
    find_credential,
    issue_session,
    new_access_key,
    new_session,
    purge_expired,
    refence,
)
from turnlock.accounts.credentials_file import profile_text, write_credentials
from turnlock.accounts.drawn import draw_unique_id
from turnlock.accounts.entities.aws_managed import AWS_MANAGED, MADE, AwsManagedPolicy
from turnlock.accounts.entities.holdings import holdings_of
from turnlock.accounts.entities.model import (
    ACCESS_KEYS,
    ATTACHMENTS,
    INLINE_CHARACTERS,
    POLICY_CHARACTERS,
    PREFIXES,
    TAGS,
    TRUST_CHARACTERS,
    VERSIONS,
    Identity,
    Kind,
    ManagedPolicy,
    PolicyVersion,
    counted,
    identity_arn,
    policy_arn,
    spoken,
)
from turnlock.accounts.entities.principals import find_principal, principal_of, principals_of
from turnlock.accounts.entities.saved_principals import (
    AbsentPrincipal,
    names_absent_principal,
    saved_name,
    saved_policy,
    shown_names,
    shown_policy,
)
from turnlock.accounts.entities.store import (
    BOUNDARY_USE,
    POLICIES,
    POLICY_USE,
    VERSIONS_KEPT,
    anyone_holds,
    count_identities,
    count_policies,
    count_uses,
    count_versions,
    delete_identity,
    find_identity,
    find_policy,
    has_members,
    holders,
    holds,
    identities_by_id,
    insert_identity,
    save_identity,
    section_of_identities,
    section_of_members,
    section_of_policies,
    versions_of,
)
from turnlock.accounts.entities.tables import instance_profiles, login_profiles, mfa_devices, oidc_providers
from turnlock.accounts.key_uses import KeyUsed, KeyUses, note_use
from turnlock.accounts.model import (
    LONGEST_POLICY,
    Credential,
    NewCredentials,
    role_session,
    root_principal,
    rotation_policy,
)
from turnlock.accounts.root_macs import MACS
from turnlock.accounts.session_context import SessionContext
from turnlock.accounts.signing import SigningKeys
from turnlock.accounts.store import AccessKeyRow

__all__ = [
    "ACCESS_KEYS",
    "ATTACHMENTS",
    "AWS_MANAGED",
    "BOUNDARY_USE",
    "INLINE_CHARACTERS",
    "LONGEST_POLICY",
    "MACS",
    "MADE",
    "NO_ATTEMPTS",
    "POLICIES",
    "POLICY_CHARACTERS",
    "POLICY_USE",
    "PREFIXES",
    "TAGS",
    "TRUST_CHARACTERS",
    "VERSIONS",
    "VERSIONS_KEPT",
    "AbsentPrincipal",
    "AccessKeyRow",
    "Attempts",
    "AwsManagedPolicy",
    "Credential",
    "Identity",
    "KeyUsed",
    "KeyUses",
    "Kind",
    "ManagedPolicy",
    "NewCredentials",
    "PolicyVersion",
    "SessionContext",
    "SigningKeys",
    "accounts",
    "anyone_holds",
    "count_identities",
    "count_policies",
    "count_uses",
    "count_versions",
    "counted",
    "create_account",
    "delete_identity",
    "draw_unique_id",
    "end_session",
    "find_credential",
    "find_identity",
    "find_policy",
    "find_principal",
    "has_members",
    "holders",
    "holdings_of",
    "holds",
    "identities_by_id",
    "identity_arn",
    "insert_identity",
    "instance_profiles",
    "issue_session",
    "login_profiles",
    "mfa_devices",
    "names_absent_principal",
    "new_access_key",
    "new_session",
    "note_use",
    "oidc_providers",
    "policy_arn",
    "principal_of",
    "principals_of",
    "profile_text",
    "purge_expired",
    "refence",
    "role_session",
    "root_principal",
    "rotation_policy",
    "save_identity",
    "saved_name",
    "saved_policy",
    "section_of_identities",
    "section_of_members",
    "section_of_policies",
    "shown_names",
    "shown_policy",
    "spoken",
    "versions_of",
    "write_credentials",
]
