"""Nothing of IAM's model is left out in silence: each operation has one handler, or a reason for having none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from turnlock.accounts.entities.aws_managed import AWS_MANAGED
from turnlock.core.action import Action, no_resource
from turnlock.iam import IAM_ACTIONS, SIMULATE_ACTIONS
from turnlock.shell.admission import Service
from turnlock.wire import Contract
from turnlock.wire.not_served import not_served

MODELLED = set(Contract.load("iam").operations)
IAM_NOT_SERVED = not_served("iam")
SIMULATION = {action.name for action in SIMULATE_ACTIONS}
WITHOUT_RESOURCE = {
    "GetAccessKeyLastUsed",
    "GetAccountAuthorizationDetails",
    "GetAccountPasswordPolicy",
    "GetAccountSummary",
    "ListAccountAliases",
    "ListGroups",
    "ListInstanceProfiles",
    "ListOpenIDConnectProviders",
    "ListPolicies",
    "ListRoles",
    "ListUsers",
    "ListVirtualMFADevices",
}


def test_each_operation_has_one_handler_or_a_reason() -> None:
    handled = Counter(action.name for action in IAM_ACTIONS)
    assert [name for name, times in handled.items() if times > 1] == []
    assert handled.keys() & IAM_NOT_SERVED.keys() == set()
    assert handled.keys() | IAM_NOT_SERVED.keys() | SIMULATION == MODELLED


def test_each_reason_is_a_reason() -> None:
    assert all(len(reason.split()) >= 3 for reason in IAM_NOT_SERVED.values())


def test_all_handlers_together_make_the_service() -> None:
    assert Service.of("iam", IAM_ACTIONS).passages.keys() == {action.name for action in IAM_ACTIONS}


@pytest.mark.parametrize("action", IAM_ACTIONS, ids=lambda action: action.name)
def test_what_only_reads_is_said_to_only_read(action: Action) -> None:
    assert action.mutates is not action.name.startswith(("Get", "List"))


@pytest.mark.parametrize("action", IAM_ACTIONS, ids=lambda action: action.name)
def test_only_actions_without_a_resource_have_no_subject(action: Action) -> None:
    """Service Authorization Reference, "AWS Identity and Access Management": the column "Resource types"."""
    assert (action.subject is no_resource) == (action.name in WITHOUT_RESOURCE)


def test_the_page_of_what_is_here_counts_right() -> None:
    page = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text(encoding="utf-8")
    section = page.split("## IAM\n")[1].split("\n## ")[0]
    assert f"{len(IAM_ACTIONS)} of {len(MODELLED)}\noperations and four simulations" in section
    assert len(SIMULATION) == 4
    assert all(policy.name in section for policy in AWS_MANAGED.values())
