"""The rows of accounts, credentials and IAM that have a MAC under the root key: what a rotation of it writes anew."""

from __future__ import annotations

from typing import Final

from turnlock.accounts.entities import tables
from turnlock.accounts.store import ACCOUNT_ROWS, KEY_ROWS, SESSION_ROWS
from turnlock.root_keys import root_macs_of, row_macs

MACS: Final = (
    *(
        root_macs_of(table)
        for table in (
            tables.identities,
            tables.managed_policies,
            tables.managed_policy_versions,
            tables.login_profiles,
            tables.mfa_devices,
            tables.instance_profiles,
            tables.oidc_providers,
        )
    ),
    *row_macs(ACCOUNT_ROWS, KEY_ROWS, SESSION_ROWS),
)
