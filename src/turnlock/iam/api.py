"""All of IAM's actions, by noun."""

from __future__ import annotations

from typing import Final

from turnlock.core.action import Action
from turnlock.iam import (
    access_keys,
    account,
    groups,
    instance_profiles,
    login_profiles,
    roles,
    tagging,
    users,
)
from turnlock.iam.mfa import api as mfa
from turnlock.iam.policies import attachments
from turnlock.iam.policies import inline as inline_policies
from turnlock.iam.policies import managed as managed_policies
from turnlock.iam.providers import api as oidc_providers

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
