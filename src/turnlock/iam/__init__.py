"""IAM: one module for each noun of its API.

What it does: carries out IAM's actions on an account's entities; `policies`, `mfa` and `providers` are sub-rooms. What
it trusts: `accounts.entities`, which checks the MAC of every row that it reads. What it must never do: show a secret
access key or a TOTP seed a second time, or reveal a resource to a caller who may not describe it.
"""

from turnlock.iam.api import IAM_ACTIONS
from turnlock.iam.login_profiles import check_password
from turnlock.iam.lookup import find_role, request_tag_conditions, require_policy, tags_in
from turnlock.iam.mfa.codes import judge_token_code, require_right_code
from turnlock.iam.permissions import require_pass_role, require_permission, service_may_assume
from turnlock.iam.policies.documents import check_identity_policy
from turnlock.iam.policies.simulation import SIMULATE_ACTIONS
from turnlock.iam.providers.keys import ProviderKeys
from turnlock.iam.providers.store import KeysWanted, OidcProvider, find_provider
from turnlock.iam.providers.web_tokens import SOURCE_CLAIM, TAGS_CLAIM, Claims, believe, issuer_of

__all__ = [
    "IAM_ACTIONS",
    "SIMULATE_ACTIONS",
    "SOURCE_CLAIM",
    "TAGS_CLAIM",
    "Claims",
    "KeysWanted",
    "OidcProvider",
    "ProviderKeys",
    "believe",
    "check_identity_policy",
    "check_password",
    "find_provider",
    "find_role",
    "issuer_of",
    "judge_token_code",
    "request_tag_conditions",
    "require_pass_role",
    "require_permission",
    "require_policy",
    "require_right_code",
    "service_may_assume",
    "tags_in",
]
