"""What each kind of policy, and each combination of kinds, comes to: the outcomes that the IAM user guide documents."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from tests.policies.asking import (
    ACCOUNT,
    ANN,
    GET,
    OTHER,
    READER,
    ROLE_ARN,
    ROOT,
    SECRET,
    SERVICE,
    THEIRS,
    Ask,
    allow,
    deny,
    document,
)
from turnlock.core.call import Principal

YES, NO, SILENT = document(allow()), document(deny()), document(allow("secretsmanager:ListSecrets"))
BOTH = document(allow(), deny())


def resource(effect: str = "Allow", *aws: str, **elements: Any) -> str:
    """Return a resource's policy that names these AWS principals, or everyone."""
    principal: Any = {"AWS": list(aws)} if aws else "*"
    elements = {"Principal": principal, "Action": GET, "Resource": "*", **elements}
    return document({"Effect": effect, **{name: value for name, value in elements.items() if value}})


ACCOUNT_ROOT = f"arn:aws:iam::{ACCOUNT}:root"
FOREIGN_ROOT = f"arn:aws:iam::{OTHER}:root"
TO_ANN, TO_ACCOUNT, TO_ALL = resource("Allow", ANN.arn), resource("Allow", ACCOUNT_ROOT), resource()
TO_ROLE, TO_SESSION = resource("Allow", ROLE_ARN), resource("Allow", READER.arn)
NOT_ANN, NOT_ALL = resource("Deny", ANN.arn), resource("Deny")
NOT_ACCOUNT = resource("Deny", ACCOUNT)

IDENTITY, RESOURCE = "no identity-based policy allows", "no resource-based policy allows"
BOUNDARY, SESSION = "no permissions boundary allows", "no session policy allows"
DENIED_IDENTITY, DENIED_RESOURCE = "denied by an identity-based policy", "denied by a resource-based policy"
DENIED_BOUNDARY, DENIED_SESSION = "denied by a permissions boundary", "denied by a sessions policy"
OK = "allowed"

# In one account: a user.
USER: list[tuple[Mapping[str, Any], str]] = [
    ({}, IDENTITY),
    ({"identity": [YES]}, OK),
    ({"identity": [NO]}, DENIED_IDENTITY),
    ({"identity": [SILENT]}, IDENTITY),
    ({"identity": [BOTH]}, DENIED_IDENTITY),
    ({"identity": [YES, NO]}, DENIED_IDENTITY),
    ({"identity": [NO, YES]}, DENIED_IDENTITY),
    ({"identity": [SILENT, YES]}, OK),
    ({"identity": ["no policy"]}, DENIED_IDENTITY),
    ({"identity": [YES, "{}"]}, DENIED_IDENTITY),
    # The boundary narrows, and gives nothing.
    ({"boundary": YES}, IDENTITY),
    ({"identity": [YES], "boundary": YES}, OK),
    ({"identity": [YES], "boundary": SILENT}, BOUNDARY),
    ({"identity": [YES], "boundary": NO}, DENIED_BOUNDARY),
    ({"identity": [YES], "boundary": BOTH}, DENIED_BOUNDARY),
    ({"identity": [SILENT], "boundary": SILENT}, IDENTITY),
    ({"identity": [NO], "boundary": NO}, DENIED_IDENTITY),
    # The session's policies narrow too: any of them may allow.
    ({"identity": [YES], "session": YES}, OK),
    ({"identity": [YES], "session": SILENT}, SESSION),
    ({"identity": [YES], "session": NO}, DENIED_SESSION),
    ({"session": YES}, IDENTITY),
    ({"identity": [YES], "session": SILENT, "managed": (YES,)}, OK),
    ({"identity": [YES], "session": YES, "managed": (SILENT,)}, OK),
    ({"identity": [YES], "session": YES, "managed": (NO,)}, DENIED_SESSION),
    ({"identity": [YES], "managed": (SILENT,)}, SESSION),
    ({"identity": [YES], "managed": (SILENT, YES)}, OK),
    ({"identity": [YES], "boundary": SILENT, "session": SILENT}, BOUNDARY),
    ({"identity": [YES], "boundary": YES, "session": YES}, OK),
    # The resource's policy: an allow in either is enough.
    ({"of_resource": TO_ANN}, OK),
    ({"of_resource": TO_ALL}, OK),
    ({"of_resource": TO_ACCOUNT}, IDENTITY),
    ({"of_resource": TO_ACCOUNT, "identity": [YES]}, OK),
    ({"of_resource": resource("Allow", ACCOUNT)}, IDENTITY),
    ({"of_resource": resource("Allow", "AIDAANN")}, OK),
    ({"of_resource": resource("Allow", ANN.arn + "2")}, IDENTITY),
    ({"of_resource": resource("Allow", FOREIGN_ROOT)}, IDENTITY),
    ({"of_resource": resource("Allow", FOREIGN_ROOT), "identity": [YES]}, OK),
    ({"of_resource": NOT_ANN, "identity": [YES]}, DENIED_RESOURCE),
    ({"of_resource": NOT_ACCOUNT, "identity": [YES]}, DENIED_RESOURCE),
    ({"of_resource": NOT_ALL, "identity": [YES]}, DENIED_RESOURCE),
    ({"of_resource": TO_ANN, "identity": [NO]}, DENIED_IDENTITY),
    ({"of_resource": NOT_ANN, "identity": [NO]}, DENIED_RESOURCE),
    ({"of_resource": "broken", "identity": [YES]}, DENIED_RESOURCE),
    # What is granted to the user itself, an implicit deny elsewhere does not narrow.
    ({"of_resource": TO_ANN, "boundary": SILENT}, OK),
    ({"of_resource": TO_ANN, "boundary": NO}, DENIED_BOUNDARY),
    ({"of_resource": TO_ALL, "boundary": SILENT}, OK),
    ({"of_resource": TO_ACCOUNT, "boundary": SILENT, "identity": [YES]}, BOUNDARY),
    # NotPrincipal.
    ({"of_resource": resource(Principal=None, NotPrincipal={"AWS": OTHER})}, OK),
    ({"of_resource": resource(Principal=None, NotPrincipal={"AWS": ANN.arn})}, IDENTITY),
    ({"of_resource": resource(Principal=None, NotPrincipal={"AWS": ACCOUNT})}, IDENTITY),
    (
        {"of_resource": resource("Deny", Principal=None, NotPrincipal={"AWS": OTHER}), "identity": [YES]},
        DENIED_RESOURCE,
    ),
    (
        {
            "of_resource": resource(
                "Deny", Principal=None, NotPrincipal={"AWS": [ANN.arn, "AIDAANN", ACCOUNT, ACCOUNT_ROOT]}
            ),
            "identity": [YES],
        },
        OK,
    ),
    (
        {
            "of_resource": resource("Deny", Principal=None, NotPrincipal={"AWS": [ANN.arn, ACCOUNT_ROOT]}),
            "identity": [YES],
        },
        OK,
    ),
    (
        {"of_resource": resource("Deny", Principal=None, NotPrincipal={"AWS": ANN.arn}), "identity": [YES]},
        DENIED_RESOURCE,
    ),
    (
        {"of_resource": resource("Deny", Principal=None, NotPrincipal={"AWS": ACCOUNT}), "identity": [YES]},
        DENIED_RESOURCE,
    ),
    ({"of_resource": resource("Deny", Principal=None, NotPrincipal="*"), "identity": [YES]}, OK),
    # Other types of principals are not users.
    ({"of_resource": resource(Principal={"Service": "lambda.amazonaws.com"})}, IDENTITY),
    ({"of_resource": resource(Principal={"Federated": ANN.arn})}, IDENTITY),
    ({"of_resource": resource(Principal={"AWS": [OTHER, ANN.arn]})}, OK),
]

# In one account: the session of a role.
ROLE: list[tuple[Mapping[str, Any], str]] = [
    ({}, IDENTITY),
    ({"identity": [YES]}, OK),
    ({"identity": [NO]}, DENIED_IDENTITY),
    ({"identity": [YES], "session": SILENT}, SESSION),
    ({"identity": [YES], "session": YES}, OK),
    ({"identity": [YES], "session": NO}, DENIED_SESSION),
    ({"session": YES}, IDENTITY),
    ({"identity": [YES], "boundary": SILENT, "session": YES}, BOUNDARY),
    # Granted to the role: boundary and session policies still narrow.
    ({"of_resource": TO_ROLE}, OK),
    ({"of_resource": TO_ROLE, "session": YES}, OK),
    ({"of_resource": TO_ROLE, "session": SILENT}, SESSION),
    ({"of_resource": TO_ROLE, "boundary": SILENT}, BOUNDARY),
    ({"of_resource": TO_ROLE, "boundary": YES, "session": YES}, OK),
    ({"of_resource": TO_ROLE, "identity": [NO]}, DENIED_IDENTITY),
    ({"of_resource": resource("Allow", "AROAREADER")}, OK),
    ({"of_resource": resource("Allow", "AROAREADER"), "session": SILENT}, SESSION),
    ({"of_resource": resource("Allow", ROLE_ARN.replace("service/", ""))}, IDENTITY),
    # Granted to the session itself, or to everyone: they do not, unless they deny.
    ({"of_resource": TO_SESSION, "session": SILENT, "boundary": SILENT}, OK),
    ({"of_resource": TO_SESSION, "session": NO}, DENIED_SESSION),
    ({"of_resource": TO_ALL, "session": SILENT, "boundary": SILENT}, OK),
    ({"of_resource": resource("Allow", READER.arn.replace("/s1", "/s2"))}, IDENTITY),
    ({"of_resource": resource("Allow", READER.arn, ROLE_ARN), "session": SILENT}, OK),
    ({"of_resource": TO_ACCOUNT, "session": YES}, IDENTITY),
    ({"of_resource": resource("Deny", ROLE_ARN), "identity": [YES]}, DENIED_RESOURCE),
    ({"of_resource": resource("Deny", READER.arn), "identity": [YES]}, DENIED_RESOURCE),
    ({"of_resource": NOT_ACCOUNT, "identity": [YES]}, DENIED_RESOURCE),
    (
        {
            "of_resource": resource(
                "Deny", Principal=None, NotPrincipal={"AWS": [ACCOUNT_ROOT, ROLE_ARN, READER.arn]}
            ),
            "identity": [YES],
        },
        OK,
    ),
    (
        {
            "of_resource": resource("Deny", Principal=None, NotPrincipal={"AWS": [ACCOUNT_ROOT, ROLE_ARN]}),
            "identity": [YES],
        },
        DENIED_RESOURCE,
    ),
    # A hosted function's session: its policy is all its authority.
    ({"hosted": True}, IDENTITY),
    ({"hosted": True, "session": YES}, OK),
    ({"hosted": True, "session": SILENT}, SESSION),
    ({"hosted": True, "session": NO}, DENIED_SESSION),
    ({"hosted": True, "of_resource": TO_ALL}, IDENTITY),
    ({"hosted": True, "of_resource": TO_SESSION, "session": SILENT}, SESSION),
    ({"hosted": True, "of_resource": NOT_ALL, "session": YES}, DENIED_RESOURCE),
]

# In one account: its root user.
OF_ROOT: list[tuple[Mapping[str, Any], str]] = [
    ({}, OK),
    ({"of_resource": TO_ANN}, OK),
    ({"of_resource": NOT_ALL}, DENIED_RESOURCE),
    ({"of_resource": NOT_ACCOUNT}, DENIED_RESOURCE),
    ({"of_resource": NOT_ANN}, OK),
    ({"session": SILENT}, SESSION),
    ({"session": YES}, OK),
    ({"of_resource": resource("Deny", Principal=None, NotPrincipal={"AWS": ACCOUNT_ROOT})}, OK),
    ({"of_resource": resource("Deny", Principal=None, NotPrincipal={"AWS": ANN.arn})}, DENIED_RESOURCE),
    ({"policy_decides": True}, RESOURCE),
    ({"policy_decides": True, "of_resource": TO_ACCOUNT}, OK),
    ({"policy_decides": True, "of_resource": TO_ANN}, RESOURCE),
]

# Across accounts: both sides must allow.
ACROSS: list[tuple[Mapping[str, Any], str]] = [
    ({"identity": [YES]}, RESOURCE),
    ({"of_resource": TO_ANN}, IDENTITY),
    ({"of_resource": TO_ANN, "identity": [YES]}, OK),
    ({"of_resource": TO_ACCOUNT}, IDENTITY),
    ({"of_resource": TO_ACCOUNT, "identity": [YES]}, OK),
    ({"of_resource": TO_ALL, "identity": [YES]}, OK),
    ({"of_resource": TO_ALL}, IDENTITY),
    ({"of_resource": resource("Allow", FOREIGN_ROOT), "identity": [YES]}, RESOURCE),
    ({"of_resource": TO_ANN, "identity": [YES, NO]}, DENIED_IDENTITY),
    ({"of_resource": NOT_ANN, "identity": [YES]}, DENIED_RESOURCE),
    ({"of_resource": NOT_ACCOUNT, "identity": [YES]}, DENIED_RESOURCE),
    ({"of_resource": TO_ANN, "identity": [YES], "boundary": SILENT}, BOUNDARY),
    ({"of_resource": TO_ANN, "identity": [YES], "boundary": YES}, OK),
    ({"of_resource": TO_ANN, "identity": [YES], "session": SILENT}, SESSION),
    ({"of_resource": TO_ANN, "identity": [SILENT]}, IDENTITY),
    ({"principal": ROOT}, RESOURCE),
    ({"principal": ROOT, "of_resource": TO_ACCOUNT}, OK),
    ({"principal": ROOT, "of_resource": TO_ANN}, RESOURCE),
    ({"principal": ROOT, "of_resource": TO_ALL}, OK),
    ({"principal": READER, "of_resource": TO_ROLE}, IDENTITY),
    ({"principal": READER, "of_resource": TO_ROLE, "identity": [YES]}, OK),
    ({"principal": READER, "of_resource": TO_SESSION}, IDENTITY),
    ({"principal": READER, "of_resource": TO_SESSION, "identity": [YES], "session": SILENT}, SESSION),
    ({"principal": READER, "of_resource": TO_SESSION, "identity": [YES]}, OK),
    ({"principal": READER, "of_resource": TO_ACCOUNT, "identity": [YES]}, OK),
    ({"principal": READER, "hosted": True, "session": YES}, RESOURCE),
    ({"resource": None, "identity": [YES]}, RESOURCE),
    ({"of_resource": TO_ANN, "policy_decides": True, "identity": [YES]}, OK),
    ({"of_resource": TO_ANN, "policy_decides": True}, IDENTITY),
    ({"granted": lambda _: True}, IDENTITY),
    ({"granted": lambda _: True, "identity": [YES]}, OK),
    ({"granted": lambda _: False, "identity": [YES]}, RESOURCE),
]

# Where the resource's policy decides: KMS keys, and roles to assume.
DECIDES: list[tuple[Mapping[str, Any], str]] = [
    ({"identity": [YES]}, RESOURCE),
    ({"identity": [YES], "of_resource": TO_ACCOUNT}, OK),
    ({"of_resource": TO_ACCOUNT}, IDENTITY),
    ({"of_resource": TO_ANN}, OK),
    ({"of_resource": TO_ANN, "boundary": SILENT}, OK),
    ({"of_resource": TO_ALL}, OK),
    ({"of_resource": resource("Allow", ROLE_ARN), "identity": [YES]}, RESOURCE),
    ({"of_resource": NOT_ANN, "identity": [YES]}, DENIED_RESOURCE),
    ({"identity": [NO], "of_resource": TO_ANN}, DENIED_IDENTITY),
    ({"identity": [YES], "of_resource": TO_ACCOUNT, "boundary": SILENT}, BOUNDARY),
    ({"identity": [YES], "of_resource": TO_ACCOUNT, "session": SILENT}, SESSION),
    ({"principal": READER, "of_resource": TO_ROLE}, OK),
    ({"principal": READER, "of_resource": TO_ROLE, "session": SILENT}, SESSION),
    ({"principal": READER, "hosted": True, "session": YES}, RESOURCE),
    ({"principal": READER, "hosted": True, "session": YES, "of_resource": TO_ACCOUNT}, OK),
    ({"granted": lambda _: True}, OK),
    ({"granted": lambda principal: principal is ANN}, OK),
    ({"granted": lambda principal: principal is not ANN}, RESOURCE),
    ({"granted": lambda _: True, "identity": [NO]}, DENIED_IDENTITY),
    ({"granted": lambda _: True, "of_resource": NOT_ANN}, DENIED_RESOURCE),
    ({"granted": lambda _: True, "boundary": SILENT}, BOUNDARY),
    ({"granted": lambda _: False, "identity": [YES], "of_resource": TO_ACCOUNT}, OK),
]

# A service: only the resource's policy speaks for it.
OF_SERVICE: list[tuple[Mapping[str, Any], str]] = [
    ({}, RESOURCE),
    ({"identity": [YES]}, RESOURCE),
    ({"of_resource": resource(Principal={"Service": SERVICE.arn})}, OK),
    ({"of_resource": resource(Principal={"Service": "lambda.amazonaws.com"})}, RESOURCE),
    ({"of_resource": resource(Principal={"AWS": ACCOUNT})}, RESOURCE),
    ({"of_resource": TO_ALL}, OK),
    ({"of_resource": resource("Deny", Principal={"Service": SERVICE.arn})}, DENIED_RESOURCE),
    ({"of_resource": NOT_ALL}, DENIED_RESOURCE),
]

ROWS = [
    *(({**call}, expected) for call, expected in USER),
    *(({"principal": READER, **call}, expected) for call, expected in ROLE),
    *(({"principal": ROOT, **call}, expected) for call, expected in OF_ROOT),
    *(({"resource": THEIRS, "named": THEIRS, **call}, expected) for call, expected in ACROSS),
    *(({"policy_decides": True, **call}, expected) for call, expected in DECIDES),
    *(({"principal": SERVICE, **call}, expected) for call, expected in OF_SERVICE),
]


@pytest.mark.parametrize(("call", "expected"), ROWS)
def test_policies_together_come_to_what_is_documented(call: Mapping[str, Any], expected: str) -> None:
    assert Ask(**call).outcome() == expected


@pytest.mark.parametrize("call", [call for call, _ in ROWS])
def test_a_deny_added_anywhere_denies(call: Mapping[str, Any]) -> None:
    ask = Ask(**call)
    more = {
        "identity": [*ask.identity, NO],
        "boundary": NO,
        "managed": (*ask.managed, NO),
        "of_resource": NOT_ALL,
    }
    for name, value in more.items():
        assert ask.but(**{name: value}).outcome().startswith("denied by"), name


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({}, IDENTITY),
        ({"principal": ROOT}, IDENTITY),
        ({"mfa": True}, OK),
        ({"mfa": True, "principal": ROOT}, OK),
        ({"principal": READER}, OK),
        ({"issued": None}, OK),
        ({"service": "sts", "action": "GetAccessKeyInfo"}, IDENTITY),
        ({"service": "sts", "action": "GetAccessKeyInfo", "mfa": True}, IDENTITY),
        ({"service": "sts", "action": "AssumeRole"}, OK),
        ({"service": "secretsmanager", "action": "GetSecretValue"}, OK),
    ],
)
def test_plain_sessions_reach_little_of_iam_and_sts_and_a_roles_reach_all(
    call: Mapping[str, Any], expected: str
) -> None:
    """STS API reference, GetSessionToken: without MFA nothing of IAM, and of STS two actions."""
    everything = document(allow("*"))
    ask = Ask(
        service="iam",
        action="ListUsers",
        resource=None,
        named="*",
        issued=timedelta(hours=1),
        identity=[everything],
    )
    assert ask.but(**call).outcome() == expected


@pytest.mark.parametrize("principal", [ROOT, ANN, READER])
def test_a_hosted_session_has_no_policies_but_its_sessions(principal: Principal) -> None:
    ask = Ask(principal=principal, hosted=True, identity=[YES])
    assert ask.outcome() == IDENTITY
    assert ask.but(session=YES).outcome() == OK
    assert ask.but(session=YES, identity=[]).outcome() == OK


def test_what_denies_or_allows_is_cited_with_the_name_of_its_policy() -> None:
    for of_resource in (NOT_ALL, TO_ANN):
        decision = Ask(of_resource=of_resource).decision()
        assert decision.by is not None
        assert (decision.by.policy, decision.by.number) == (SECRET, 1)
    absent = Ask(of_resource=NOT_ALL, resource=None).decision()
    assert absent.by is not None
    assert absent.by.policy == "prod/db"
    narrowed = Ask(identity=[YES], session=YES).decision()
    assert narrowed.by is not None
    assert narrowed.by.policy == "p0"
    hosted = Ask(principal=READER, hosted=True, session=YES).decision()
    assert hosted.by is not None
    assert hosted.by.policy == READER.arn


TRUST = {"Action": "sts:AssumeRole", "Resource": None}


@pytest.mark.parametrize(
    ("trust", "identity", "expected"),
    [
        (resource("Allow", ANN.arn, **TRUST), [], OK),
        (resource("Allow", ACCOUNT_ROOT, **TRUST), [], IDENTITY),
        (resource("Allow", ACCOUNT_ROOT, **TRUST), [document(allow("sts:AssumeRole"))], OK),
        (resource("Allow", FOREIGN_ROOT, **TRUST), [document(allow("sts:*"))], "no role trust policy allows"),
        (resource("Deny", ANN.arn, **TRUST), [document(allow("sts:*"))], "denied by the role trust policy"),
        (
            resource("Allow", ANN.arn, Action="sts:TagSession", Resource=None),
            [],
            "no role trust policy allows",
        ),
        (resource("Allow", ANN.arn), [], "denied by the role trust policy"),
    ],
)
def test_a_role_is_assumed_by_its_trust_policy(trust: str, identity: list[str], expected: str) -> None:
    """The last row is a text that is no trust policy: it names a resource."""
    ask = Ask(
        service="sts",
        action="AssumeRole",
        resource=ROLE_ARN,
        named=ROLE_ARN,
        policy_decides=True,
        of_resource=trust,
        identity=identity,
    )
    assert ask.outcome() == expected


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ({}, f"because no identity-based policy allows the {GET} action"),
        ({"identity": [NO]}, "with an explicit deny in an identity-based policy"),
        ({"of_resource": NOT_ALL}, "with an explicit deny in a resource-based policy"),
        ({"boundary": NO}, "with an explicit deny in a permissions boundary"),
        ({"session": NO}, "with an explicit deny in a sessions policy"),
        ({"resource": THEIRS, "named": THEIRS}, f"because no resource-based policy allows the {GET} action"),
        ({"identity": [YES], "boundary": SILENT}, f"because no permissions boundary allows the {GET} action"),
        ({"identity": [YES], "session": SILENT}, f"because no session policy allows the {GET} action"),
    ],
)
def test_a_denial_reads_as_awss(call: Mapping[str, Any], sentence: str) -> None:
    """docs/aws-behaviour.md#sentences-of-denials."""
    ask = Ask(**call)
    decision = ask.decision()
    start = f"User: {ANN.arn} is not authorized to perform: {GET} on resource: {ask.named} "
    assert getattr(decision, "reason", None) == start + sentence
