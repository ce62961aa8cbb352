"""Grants, on both stores: what they give to a user whom no policy gives anything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.calling import ACCOUNT, Client, refusal
from turnlock.core.arn import AccountId
from turnlock.core.call import Principal, PrincipalKind
from turnlock.kms.grants.store import GrantTerms, context_fits, stands_for

USER = f"arn:aws:iam::{ACCOUNT}:user/ann"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/path/reader"
CONTEXT = {"app": "shop", "stage": "prod"}


def user(arn: str = USER) -> Principal:
    return Principal(kind=PrincipalKind.USER, arn=arn, account_id=ACCOUNT, principal_id="AIDAEXAMPLE")


def session(name: str = "reader") -> Principal:
    return Principal(
        kind=PrincipalKind.ASSUMED_ROLE,
        arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/s",
        account_id=ACCOUNT,
        principal_id="AROAEXAMPLE:s",
    )


@pytest.fixture
def ann(kms: Client) -> Client:
    return kms.elsewhere(principal=user(), records=[])


def give(kms: Client, key: str, *operations: str, to: str = USER, **more: Any) -> dict[str, Any]:
    return kms("CreateGrant", KeyId=key, GranteePrincipal=to, Operations=list(operations), **more)


def sealed(kms: Client, key: str, **more: Any) -> bytes:
    blob: bytes = kms("Encrypt", KeyId=key, Plaintext=b"x", **more)["CiphertextBlob"]
    return blob


def test_a_grant_gives_its_operations_and_no_others_until_it_is_revoked(
    kms: Client, ann: Client, key: str
) -> None:
    blob = sealed(kms, key)
    assert refusal(lambda: ann("Decrypt", CiphertextBlob=blob))[0] == "AccessDeniedException"
    grant = give(kms, key, "Decrypt", "DescribeKey")
    assert ann("Decrypt", CiphertextBlob=blob)["Plaintext"] == b"x"
    assert ann("DescribeKey", KeyId=key)["KeyMetadata"]["Arn"] == key
    assert refusal(lambda: sealed(ann, key))[0] == "AccessDeniedException"
    assert refusal(lambda: ann("DisableKey", KeyId=key))[0] == "AccessDeniedException"
    kms("RevokeGrant", KeyId=key, GrantId=grant["GrantId"])
    assert refusal(lambda: ann("Decrypt", CiphertextBlob=blob))[0] == "AccessDeniedException"


def test_a_grant_is_for_its_own_key_and_its_own_grantee(kms: Client, ann: Client, key: str) -> None:
    other = kms("CreateKey")["KeyMetadata"]["Arn"]
    give(kms, key, "Decrypt")
    of_other = sealed(kms, other)
    assert refusal(lambda: ann("Decrypt", CiphertextBlob=of_other))[0] == "AccessDeniedException"
    bob = kms.elsewhere(principal=user(f"arn:aws:iam::{ACCOUNT}:user/bob"))
    own = sealed(kms, key)
    assert refusal(lambda: bob("Decrypt", CiphertextBlob=own))[0] == "AccessDeniedException"


@pytest.mark.parametrize(
    ("constraint", "cases"),
    [
        ("EncryptionContextEquals", ([CONTEXT], [{}, {"app": "shop"}, {**CONTEXT, "x": "y"}])),
        (
            "EncryptionContextSubset",
            ([CONTEXT, {**CONTEXT, "x": "y"}], [{}, {"app": "shop"}, {**CONTEXT, "app": "X"}]),
        ),
    ],
)
def test_a_constraint_demands_its_encryption_context(
    kms: Client,
    ann: Client,
    key: str,
    constraint: str,
    cases: tuple[list[dict[str, str]], list[dict[str, str]]],
) -> None:
    fitting, failing = cases
    give(kms, key, "Decrypt", "GenerateDataKey", Constraints={constraint: CONTEXT})
    for context in fitting:
        blob = sealed(kms, key, EncryptionContext=context)
        assert ann("Decrypt", CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"x"
    for context in failing:
        denied = refusal(
            lambda context=context: ann(  # type: ignore[misc]
                "GenerateDataKey", KeyId=key, KeySpec="AES_256", EncryptionContext=context
            )
        )
        assert denied[0] == "AccessDeniedException"


def test_reencrypt_needs_both_sides(kms: Client, ann: Client, key: str) -> None:
    other = kms("CreateKey")["KeyMetadata"]["Arn"]
    asked = {"CiphertextBlob": sealed(kms, key), "DestinationKeyId": other}
    give(kms, other, "ReEncryptTo")
    assert refusal(lambda: ann("ReEncrypt", **asked))[0] == "AccessDeniedException"
    give(kms, key, "ReEncryptFrom")
    assert ann("ReEncrypt", **asked)["KeyId"] == other


def test_a_holder_of_create_grant_hands_on_no_more_than_it_has(kms: Client, ann: Client, key: str) -> None:
    bob = f"arn:aws:iam::{ACCOUNT}:user/bob"
    narrow = {"EncryptionContextSubset": {"app": "shop"}}
    give(kms, key, "CreateGrant", "Encrypt", "DescribeKey", Constraints=narrow)
    assert ann("DescribeKey", KeyId=key)["KeyMetadata"]["Arn"] == key
    for operations, constraints in (
        (["Decrypt"], narrow),
        (["Encrypt", "Decrypt"], narrow),
        (["Encrypt"], {}),
        (["Encrypt"], {"EncryptionContextSubset": {"app": "other"}}),
    ):
        asked = {"KeyId": key, "GranteePrincipal": bob, "Operations": operations, "Constraints": constraints}
        denied = refusal(lambda asked=asked: ann("CreateGrant", **asked))  # type: ignore[misc]
        assert denied[0] == "AccessDeniedException"
    for constraints in (narrow, {"EncryptionContextEquals": CONTEXT}):
        assert give(ann, key, "Encrypt", to=bob, Constraints=constraints)["GrantId"]


def test_a_role_is_its_sessions(kms: Client, key: str) -> None:
    give(kms, key, "DescribeKey", to=ROLE)
    assert kms.elsewhere(principal=session())("DescribeKey", KeyId=key)["KeyMetadata"]["Arn"] == key
    stranger = kms.elsewhere(principal=session("writer"))
    assert refusal(lambda: stranger("DescribeKey", KeyId=key))[0] == "AccessDeniedException"


def test_a_repeated_named_grant_is_the_same_one(kms: Client, key: str) -> None:
    first = give(kms, key, "Decrypt", Name="n")
    assert give(kms, key, "Decrypt", Name="n")["GrantId"] == first["GrantId"]
    assert give(kms, key, "Decrypt", "Encrypt", Name="n")["GrantId"] != first["GrantId"]
    assert give(kms, key, "Decrypt")["GrantId"] != give(kms, key, "Decrypt")["GrantId"]
    assert len(kms("ListGrants", KeyId=key)["Grants"]) == 4


def test_grants_are_listed_in_pages_and_by_grantee(kms: Client, key: str) -> None:
    made = {give(kms, key, "Decrypt")["GrantId"] for _ in range(3)}
    give(kms, key, "Decrypt", to=ROLE, Constraints={"EncryptionContextSubset": CONTEXT}, Name="r")
    first = kms("ListGrants", KeyId=key, GranteePrincipal=USER, Limit=2)
    rest = kms("ListGrants", KeyId=key, GranteePrincipal=USER, Marker=first["NextMarker"])
    assert {entry["GrantId"] for entry in first["Grants"] + rest["Grants"]} == made
    (of_role,) = kms("ListGrants", KeyId=key, GranteePrincipal=ROLE)["Grants"]
    assert (of_role["Name"], of_role["KeyId"], of_role["Operations"]) == ("r", key, ["Decrypt"])
    assert of_role["Constraints"] == {"EncryptionContextSubset": CONTEXT}
    assert of_role["IssuingAccount"] == f"arn:aws:iam::{ACCOUNT}:root"


def test_who_may_retire_a_grant_retires_it(kms: Client, ann: Client, key: str) -> None:
    by_token = give(kms, key, "Decrypt", to=ROLE, RetiringPrincipal=USER)
    by_id = give(kms, key, "Decrypt", "RetireGrant")
    not_hers = give(kms, key, "Decrypt", to=ROLE)
    (listed,) = kms("ListRetirableGrants", RetiringPrincipal=USER)["Grants"]
    assert listed["GrantId"] == by_token["GrantId"]
    ann("RetireGrant", GrantToken=by_token["GrantToken"])
    ann("RetireGrant", KeyId=key, GrantId=by_id["GrantId"])
    denied = refusal(lambda: ann("RetireGrant", GrantToken=not_hers["GrantToken"]))
    assert denied[0] == "AccessDeniedException"
    assert [one["GrantId"] for one in kms("ListGrants", KeyId=key)["Grants"]] == [not_hers["GrantId"]]


def test_a_grant_token_is_accepted_where_it_is_ours(kms: Client, ann: Client, key: str) -> None:
    token = give(kms, key, "DescribeKey", "Encrypt")["GrantToken"]
    assert sealed(ann, key, GrantTokens=[token])
    for forged in ("bm8gdG9rZW4=", token[:-4] + "AAAA", "ключ"):
        code = refusal(lambda forged=forged: sealed(ann, key, GrantTokens=[forged]))[0]  # type: ignore[misc]
        assert code == "InvalidGrantTokenException"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"Operations": ["Sign"]}, "ValidationException"),
        ({"GranteePrincipal": "ann"}, "InvalidArnException"),
        ({"RetiringPrincipal": "arn:aws:s3:::b"}, "InvalidArnException"),
        ({"DryRun": True}, "DryRunOperationException"),
    ],
)
def test_a_grant_that_cannot_be_is_refused(kms: Client, key: str, asked: dict[str, Any], code: str) -> None:
    given = {"KeyId": key, "GranteePrincipal": USER, "Operations": ["Decrypt"], **asked}
    assert refusal(lambda: kms("CreateGrant", **given))[0] == code
    assert kms("ListGrants", KeyId=key)["Grants"] == []


@pytest.mark.parametrize(
    ("grant_id", "code"), [("0" * 64, "NotFoundException"), ("0", "InvalidGrantIdException")]
)
def test_an_absent_grant_is_not_found(kms: Client, key: str, grant_id: str, code: str) -> None:
    assert refusal(lambda: kms("RevokeGrant", KeyId=key, GrantId=grant_id))[0] == code


pairs = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)


@given(pairs | st.none(), pairs | st.none(), pairs)
def test_constraints_hold_as_a_naive_reading_says(
    equals: dict[str, str] | None, subset: dict[str, str] | None, context: dict[str, str]
) -> None:
    terms = GrantTerms(
        grantee=USER, operations=("Decrypt",), issuer=ACCOUNT, context_equals=equals, context_subset=subset
    )
    naive = (equals is None or sorted(equals.items()) == sorted(context.items())) and all(
        context.get(name) == value for name, value in (subset or {}).items()
    )
    assert context_fits(terms, context) is naive


@pytest.mark.parametrize(
    ("named", "stands"),
    [
        (USER, True),
        (f"arn:aws:iam::{ACCOUNT}:root", True),
        (ACCOUNT, True),
        (f"arn:aws:iam::{ACCOUNT}:user/an", False),
        ("arn:aws:iam::999999999999:user/ann", False),
        ("*", False),
        ("ann", False),
    ],
)
def test_a_name_stands_for_whom_it_names(named: str, stands: bool) -> None:
    assert stands_for(named, user()) is stands
    assert not stands_for(f"arn:aws:iam::{AccountId('999999999999')}:role/reader", session()), (
        "a role of the same name in another account"
    )
