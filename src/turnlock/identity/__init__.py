"""IAM and STS: who asks, and what they may do.

What it does: makes accounts and their root access keys, issues and ends the temporary credentials of roles, finds whose
authority a request claims, keeps signing keys while they are in use, decides over every call, and answers STS's actions.

What it trusts: `keys` for sealing, and the store's rows only as far as their secrets open: each secret is sealed for what
its row says. What wire has verified, it does not verify again.

What it must never do: keep or log a secret access key or a session token, let a key count that was changed or deleted
before the request began, allow what it does not understand, or tell a caller of a resource that it may not describe.
"""

from turnlock.core.credentials import TemporaryCredentials
from turnlock.identity.api import STS_ACTIONS
from turnlock.identity.assuming import issue_role_session
from turnlock.identity.attached import Allowed, PolicyKind
from turnlock.identity.context import account_of
from turnlock.identity.credentials import (
    accounts,
    create_account,
    end_session,
    find_credential,
    issue_session,
    purge_expired,
    refence,
)
from turnlock.identity.credentials_file import profile_text, write_credentials
from turnlock.identity.evaluation import ALWAYS_ALLOWED, Decision, Denied, admits, decide
from turnlock.identity.explaining import Explanation, Miss, explain
from turnlock.identity.exposure import (
    has_invalid_service,
    has_unsupported_principal,
    is_public,
    locks_out,
)
from turnlock.identity.holdings import Holdings, NamedPolicy, holdings_of
from turnlock.identity.iam.api import IAM_ACTIONS
from turnlock.identity.iam.login_profiles import check_password
from turnlock.identity.iam.lookup import find_role
from turnlock.identity.iam.providers_store import KeysWanted
from turnlock.identity.iam.root_macs import MACS
from turnlock.identity.key_uses import KeyUsed, KeyUses, note_use
from turnlock.identity.model import (
    Credential,
    NewCredentials,
    root_principal,
    rotation_policy,
)
from turnlock.identity.permissions import require_pass_role, require_permission, service_may_assume
from turnlock.identity.policy import Document, NamedPrincipal, PrincipalType
from turnlock.identity.policy_reader import (
    Form,
    read_identity_policy,
    read_resource_policy,
    read_trust_policy,
)
from turnlock.identity.principals import find_principal, principals_of
from turnlock.identity.provider_keys import ProviderKeys
from turnlock.identity.saved_principals import (
    AbsentPrincipal,
    names_absent_principal,
    saved_name,
    saved_policy,
    shown_names,
    shown_policy,
)
from turnlock.identity.scope import STS_NOT_YET
from turnlock.identity.signing import SigningKeys
from turnlock.identity.simulation import SIMULATE_ACTIONS
from turnlock.identity.web_identity import web_caller

__all__ = [
    "ALWAYS_ALLOWED",
    "IAM_ACTIONS",
    "MACS",
    "SIMULATE_ACTIONS",
    "STS_ACTIONS",
    "STS_NOT_YET",
    "AbsentPrincipal",
    "Allowed",
    "Credential",
    "Decision",
    "Denied",
    "Document",
    "Explanation",
    "Form",
    "Holdings",
    "KeyUsed",
    "KeyUses",
    "KeysWanted",
    "Miss",
    "NamedPolicy",
    "NamedPrincipal",
    "NewCredentials",
    "PolicyKind",
    "PrincipalType",
    "ProviderKeys",
    "SigningKeys",
    "TemporaryCredentials",
    "account_of",
    "accounts",
    "admits",
    "check_password",
    "create_account",
    "decide",
    "end_session",
    "explain",
    "find_credential",
    "find_principal",
    "find_role",
    "has_invalid_service",
    "has_unsupported_principal",
    "holdings_of",
    "is_public",
    "issue_role_session",
    "issue_session",
    "locks_out",
    "names_absent_principal",
    "note_use",
    "principals_of",
    "profile_text",
    "purge_expired",
    "read_identity_policy",
    "read_resource_policy",
    "read_trust_policy",
    "refence",
    "require_pass_role",
    "require_permission",
    "root_principal",
    "rotation_policy",
    "saved_name",
    "saved_policy",
    "service_may_assume",
    "shown_names",
    "shown_policy",
    "web_caller",
    "write_credentials",
]
