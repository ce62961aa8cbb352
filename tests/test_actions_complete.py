"""Nothing of Secrets Manager's model is left out in silence: each operation has one handler, or a reason for having none."""

from __future__ import annotations

from collections import Counter

import pytest

from turnlock import kms, rotation, secrets
from turnlock.accounts.entities import saved_principals
from turnlock.core.action import Action, no_resource
from turnlock.shell.admission import Service
from turnlock.wire import Contract
from turnlock.wire.not_served import not_served

NOT_YET, KMS_NOT_YET = not_served("secretsmanager"), not_served("kms")
MODELLED = set(Contract.load("secretsmanager").operations)
DOCUMENTED_ONLY = {
    "AssociateCrossAccountReplica",
    "DisassociateCrossAccountReplica",
}
"""Operations that AWS documents and that botocore's model may not know yet."""
ACTIONS = (*secrets.ACTIONS, *rotation.ACTIONS)


def test_each_operation_has_one_handler_or_a_reason() -> None:
    handled = Counter(action.name for action in ACTIONS)
    assert [name for name, times in handled.items() if times > 1] == []
    assert handled.keys() & NOT_YET.keys() == set(), "an operation with a handler needs no reason any more"
    assert handled.keys() | NOT_YET.keys() == MODELLED | DOCUMENTED_ONLY


def test_each_reason_is_a_reason() -> None:
    for name, reason in NOT_YET.items():
        assert len(reason.split()) >= 3, name


def test_all_handlers_together_make_the_service() -> None:
    assert Service.of("secretsmanager", ACTIONS).passages.keys() == {action.name for action in ACTIONS}


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_what_only_reads_is_said_to_only_read(action: Action) -> None:
    reads = action.name.startswith(("Get", "List", "Describe", "BatchGet", "Validate"))
    assert action.mutates is not reads


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_only_actions_without_a_resource_have_no_subject(action: Action) -> None:
    """docs/aws-behaviour.md#actions-without-a-resource."""
    without = {"BatchGetSecretValue", "GetRandomPassword", "ListSecrets"}
    assert (action.subject is no_resource) == (action.name in without)


KMS_ACTIONS = kms.kms_actions(saved_principals)


def test_each_operation_of_kms_has_one_handler_or_a_reason() -> None:
    handled = Counter(action.name for action in KMS_ACTIONS)
    assert [name for name, times in handled.items() if times > 1] == []
    assert handled.keys() & KMS_NOT_YET.keys() == set()
    assert handled.keys() | KMS_NOT_YET.keys() == set(Contract.load("kms").operations)
    assert [name for name, reason in KMS_NOT_YET.items() if len(reason.split()) < 3] == []


@pytest.mark.parametrize("action", KMS_ACTIONS, ids=lambda action: action.name)
def test_what_only_reads_keys_is_said_to_only_read(action: Action) -> None:
    """Encrypting and signing change nothing in the store."""
    uses = ("Encrypt", "Decrypt", "ReEncrypt", "Generate", "Sign", "Verify")
    assert action.mutates is not action.name.startswith(("Get", "List", "Describe", *uses))


@pytest.mark.parametrize("action", KMS_ACTIONS, ids=lambda action: action.name)
def test_only_actions_without_a_key_have_no_subject(action: Action) -> None:
    without = {"GenerateRandom", "ListAliases", "ListKeys", "ListRetirableGrants"}
    assert (action.subject is no_resource) == (action.name in without)
