"""The compiled evaluator against a naive reading of the same policies, on random calls: 100,000 of them in the proof."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.policies import naive
from tests.policies.asking import ACCOUNT, ANN, OTHER, READER, ROLE_ARN, SECRET, THEIRS, Ask
from tests.proofs import FULL, SEED
from tests.sampling import FEW

BATCH = 500 if FEW else 2_500
CASES = 100_000 if FULL else BATCH if FEW else 2 * BATCH
CALLS = 5
"""Calls that are made under the same policies, each with another action, resource and keys."""

ACTIONS = ["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:DescribeSecret"]
ACTION_PATTERNS = [
    *ACTIONS,
    "*",
    "secretsmanager:*",
    "secretsmanager:Get*",
    "SecretsManager:?etSecretValue",
    "secretsmanager:*Value",
    "kms:*",
]
HOME = SECRET[: SECRET.index("prod")]
RESOURCES = [SECRET, HOME + "ann/a", HOME + "red", HOME + "a*b", THEIRS]
RESOURCE_PATTERNS = [
    *RESOURCES[:3],
    "*",
    HOME + "*",
    HOME + "prod/*",
    HOME + "prod/db-??????",
    HOME + "${aws:username}/*",
    HOME + "${aws:PrincipalTag/Team}",
    HOME + "${aws:PrincipalTag/Team, 'red'}",
    HOME + "a${*}b",
    HOME + "a${?}b",
    "arn:aws:secretsmanager:*:*:secret:*",
    "arn:aws:secretsmanager:eu-*-1:*:*",
    "arn:aws:secretsmanager:*:secret:prod/db-AbCdEf:*",
    "arn:aws:kms:*:*:*",
    f"arn:aws:secretsmanager:*:{OTHER}:secret:*",
]
STRINGS = [
    "a",
    "A",
    "ab",
    "red",
    "ann",
    "a*",
    "a?",
    "*",
    "",
    "${aws:username}",
    "${aws:PrincipalTag/Team}",
    "a${*}",
]
NUMBERS = ["1", "2", "2.0", "10", "-3"]
DATES = ["2026-11-25T12:00:00Z", "2026-11-25T13:00:00+01:00", "2026-11-25", "2027-01-01T00:00:00Z"]
ADDRESSES = ["192.0.2.7", "192.0.2.200", "10.0.0.1", "2001:db8::1"]
NETWORKS = ["192.0.2.0/25", "192.0.2.7", "0.0.0.0/0", "2001:db8::/32"]
ARNS = ["arn:aws:lambda:eu-central-1:1:function:f", "arn:aws:sns:us-east-1:1:t", "arn:aws:lambda:::f:g"]
ARN_PATTERNS = [*ARNS, "*", "arn:aws:lambda:*:*:function:*", "arn:aws:*:*:*:*", "arn:aws:lambda:*:f"]
BINARIES = ["QQ==", "QUI=", "AAAA"]

# By the kind of operator: (the operators, the policy's values, the request's values)
KINDS: list[tuple[list[str], list[str], list[str]]] = [
    (
        ["StringEquals", "StringNotEquals", "StringLike", "StringNotLike"],
        STRINGS,
        ["a", "A", "ab", "red", "ann", "a*", "", "b"],
    ),
    (["StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"], ["a", "AB", "Red"], ["A", "ab", "RED"]),
    (
        [
            f"Numeric{how}"
            for how in (
                "Equals",
                "NotEquals",
                "LessThan",
                "LessThanEquals",
                "GreaterThan",
                "GreaterThanEquals",
            )
        ],
        NUMBERS,
        [*NUMBERS, "x"],
    ),
    (
        [
            f"Date{how}"
            for how in (
                "Equals",
                "NotEquals",
                "LessThan",
                "LessThanEquals",
                "GreaterThan",
                "GreaterThanEquals",
            )
        ],
        DATES,
        [*DATES, "x"],
    ),
    (["Bool"], ["true", "false", "True"], ["true", "false", "x"]),
    (["BinaryEquals"], BINARIES, BINARIES),
    (["IpAddress", "NotIpAddress"], NETWORKS, [*ADDRESSES, "x"]),
    (["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"], ARN_PATTERNS, [*ARNS, "x"]),
    (["Null"], ["true", "false"], ["a"]),
]
AWS_NAMES = [ACCOUNT, OTHER, f"arn:aws:iam::{ACCOUNT}:root", ANN.arn, READER.arn, ROLE_ARN, "*"]


def some(rng: random.Random, options: list[str], most: int = 3) -> Any:
    """Return one option, or a list of some."""
    return (
        rng.choice(options)
        if rng.random() < 0.6
        else rng.sample(options, rng.randint(1, min(most, len(options))))
    )


def conditions(rng: random.Random, keys: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    """Return conditions, and give the call values for most of their keys."""
    made: dict[str, dict[str, Any]] = {}
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        operators, wanted, given = rng.choice(KINDS)
        operator = rng.choice(operators)
        if operator != "Null":
            operator = rng.choice(["", "", "ForAnyValue:", "ForAllValues:"]) + operator
            operator += rng.choice(["", "", "IfExists"])
        key = f"x:{rng.choice('abcdef')}"
        made.setdefault(operator, {})[key.upper() if rng.random() < 0.2 else key] = some(rng, wanted)
        if rng.random() < 0.8:
            keys.setdefault(key, rng.sample(given, rng.choice([1, 1, 1, min(2, len(given))])))
    return made


def statement(
    rng: random.Random, keys: dict[str, list[str]], *, for_resource: bool = False
) -> dict[str, Any]:
    made: dict[str, Any] = {"Effect": "Deny" if rng.random() < 0.25 else "Allow"}
    made["NotAction" if rng.random() < 0.1 else "Action"] = some(rng, ACTION_PATTERNS)
    made["NotResource" if rng.random() < 0.1 else "Resource"] = some(rng, RESOURCE_PATTERNS)
    found = conditions(rng, keys)
    if found:
        made["Condition"] = found
    if for_resource:
        principal: Any = "*" if rng.random() < 0.2 else {"AWS": some(rng, AWS_NAMES)}
        made["NotPrincipal" if rng.random() < 0.15 else "Principal"] = principal
    return made


def policy(rng: random.Random, keys: dict[str, list[str]], *, for_resource: bool = False) -> str:
    statements = [statement(rng, keys, for_resource=for_resource) for _ in range(rng.randint(1, 3))]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def ask_of(rng: random.Random) -> Ask:
    """Return a call with random policies, and values for most of the keys that they ask for."""
    keys: dict[str, list[str]] = {}
    return Ask(
        principal=ANN if rng.random() < 0.5 else READER,
        identity=[policy(rng, keys) for _ in range(rng.randint(0, 3))],
        boundary=policy(rng, keys) if rng.random() < 0.2 else None,
        session=policy(rng, keys) if rng.random() < 0.2 else None,
        managed=(policy(rng, keys),) if rng.random() < 0.1 else (),
        of_resource=policy(rng, keys, for_resource=True) if rng.random() < 0.5 else None,
        policy_decides=rng.random() < 0.2,
        tags={"Team": rng.choice(["red", "x*"])} if rng.random() < 0.5 else {},
        conditions=keys,
    )


def another(rng: random.Random, ask: Ask) -> Ask:
    """Return another call under the same policies."""
    resource = rng.choice(RESOURCES)
    kept = {key: values for key, values in ask.conditions.items() if rng.random() < 0.9}
    action = rng.choice(ACTIONS).partition(":")[2]
    return ask.but(action=action, resource=resource, named=resource, conditions=kept)


def naively(ask: Ask) -> bool:
    """Return whether the naive reading allows a call."""
    is_user, resource = ask.principal is ANN, ask.named
    return naive.decide(
        identity=ask.identity,
        boundary=ask.boundary,
        session=[*([ask.session] if ask.session else []), *ask.managed],
        resource_policy=ask.of_resource,
        who=naive.Who(ACCOUNT, ask.principal.arn, None if is_user else ROLE_ARN),
        across=resource == THEIRS,
        decides=ask.policy_decides,
        action=f"secretsmanager:{ask.action}",
        resource=resource,
        keys={
            **ask.conditions,
            **({"aws:username": ["ann"]} if is_user else {}),
            **{f"aws:principaltag/{key.lower()}": [value] for key, value in ask.tags.items()},
        },
    )


@pytest.mark.parametrize("batch", range(CASES // BATCH))
def test_the_evaluator_decides_as_the_naive_reading(batch: int) -> None:
    rng = random.Random(f"{SEED} policies {batch}")
    allowed = 0
    for _ in range(BATCH // CALLS):
        first = ask_of(rng)
        for ask in (another(rng, first) for _ in range(CALLS)):
            decided = ask.outcome() == "allowed"
            assert decided == naively(ask), ask
            allowed += decided
    assert BATCH * 0.1 < allowed < BATCH * 0.9, "the cases are all alike"
