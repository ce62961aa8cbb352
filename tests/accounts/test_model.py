"""Credentials as values, and the policy of hosted functions."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from turnlock.accounts import NewCredentials, rotation_policy
from turnlock.accounts.model import LONGEST_POLICY
from turnlock.core.arn import AccountId
from turnlock.core.credentials import TemporaryCredentials
from turnlock.policies import read_identity_policy

ACCOUNT = AccountId("123456789012")


def test_the_rotation_policy_is_a_policy_document_within_the_limit_for_the_longest_name() -> None:
    longest = f"arn:aws-us-gov:secretsmanager:ap-southeast-1:{ACCOUNT}:secret:{'n' * 512}-AbCdEf"
    document = rotation_policy(longest)
    assert len(document) <= LONGEST_POLICY
    assert json.loads(document)["Version"] == "2012-10-17"
    read_identity_policy(document)


def test_no_repr_of_credentials_shows_their_secrets() -> None:
    shown = repr(NewCredentials(access_key_id="AKIA1", secret_access_key="hidden"))
    shown += repr(
        TemporaryCredentials(
            access_key_id="ASIA1",
            secret_access_key="hidden",
            session_token="hidden",
            expires_at=datetime(2026, 11, 23, tzinfo=UTC),
        )
    )
    assert "AKIA1" in shown
    assert "ASIA1" in shown
    assert "hidden" not in shown
