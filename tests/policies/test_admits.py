"""What a resource's policy says to services and identity providers, which have no policies of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.policies.asking import ACCOUNT, OTHER, SECRET, document
from turnlock.policies import Form, NamedPrincipal, PrincipalType, admits

INVOKE = "lambda:InvokeFunction"
FUNCTION = f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:rotate"
SERVICE = NamedPrincipal(type=PrincipalType.SERVICE, name="secretsmanager.amazonaws.com")
FROM_HERE = {"aws:sourceaccount": [ACCOUNT], "aws:sourcearn": [SECRET]}


def permission(**elements: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": SERVICE.name},
        "Action": INVOKE,
        "Resource": FUNCTION,
        **elements,
    }


BOUND = permission(
    Condition={
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnLike": {"aws:SourceArn": SECRET[:-6] + "*"},
    }
)


@pytest.mark.parametrize(
    ("statements", "conditions", "expected"),
    [
        ([permission()], {}, True),
        ([permission(Principal="*")], {}, True),
        ([permission(Principal={"Service": "sns.amazonaws.com"})], {}, False),
        ([permission(Principal={"AWS": ACCOUNT})], {}, False),
        ([permission(Action="lambda:GetFunction")], {}, False),
        ([permission(Resource=FUNCTION + "2")], {}, False),
        ([permission(), permission(Effect="Deny")], {}, False),
        ([BOUND], FROM_HERE, True),
        ([BOUND], {**FROM_HERE, "aws:sourceaccount": [OTHER]}, False),
        ([BOUND], {**FROM_HERE, "aws:sourcearn": [FUNCTION]}, False),
        ([BOUND], {}, False),
    ],
)
def test_a_service_is_let_in_by_the_resources_policy_alone(
    statements: Sequence[Mapping[str, Any]], conditions: Mapping[str, Sequence[str]], expected: bool
) -> None:
    policy = document(*statements)
    assert admits(policy, SERVICE, action=INVOKE, resource=FUNCTION, conditions=conditions) == expected


@pytest.mark.parametrize("policy", [None, "no policy", document(permission(Resource=None))])
def test_without_a_readable_policy_nobody_is_let_in(policy: str | None) -> None:
    assert not admits(policy, SERVICE, action=INVOKE, resource=FUNCTION, conditions={})


@pytest.mark.parametrize(("subject", "expected"), [("repo:a", True), ("repo:b", False)])
def test_an_identity_provider_is_let_in_by_the_trust_policy(subject: str, expected: bool) -> None:
    provider = NamedPrincipal(
        type=PrincipalType.FEDERATED, name=f"arn:aws:iam::{ACCOUNT}:oidc-provider/id.example"
    )
    trust = document(
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider.name},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {"id.example:sub": "repo:a"}},
        }
    )
    let_in = admits(
        trust,
        provider,
        action="sts:AssumeRoleWithWebIdentity",
        resource=f"arn:aws:iam::{ACCOUNT}:role/r",
        conditions={"id.example:sub": [subject]},
        form=Form.TRUST,
    )
    assert let_in == expected
