"""All of IAM's actions, by noun."""

from __future__ import annotations

from typing import Final

from turnlock.core.action import Action
from turnlock.identity.iam import (
    access_keys,
    account,
    attachments,
    groups,
    inline_policies,
    instance_profiles,
    login_profiles,
    managed_policies,
    mfa,
    oidc_providers,
    roles,
    tagging,
    users,
)

IAM_ACTIONS: Final[tuple[Action, ...]] = (
    *users.ACTIONS,
    *access_keys.ACTIONS,
    *roles.ACTIONS,
    *groups.ACTIONS,
    *inline_policies.ACTIONS,
    *managed_policies.ACTIONS,
    *attachments.ACTIONS,
    *tagging.ACTIONS,
    *login_profiles.ACTIONS,
    *mfa.ACTIONS,
    *instance_profiles.ACTIONS,
    *oidc_providers.ACTIONS,
    *account.ACTIONS,
)
"""Without the simulations, which the policy language's rooms bring."""
