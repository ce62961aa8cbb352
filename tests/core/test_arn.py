"""ARNs and the identifiers inside them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.core.arn import Arn, account_id, partition_of

PART = st.text(st.characters(codec="utf-8", exclude_characters=":"), min_size=1, max_size=8)


@given(parts=st.tuples(PART, PART, PART, PART), resource=st.text(min_size=1, max_size=20))
def test_an_arn_comes_back_from_its_text(parts: tuple[str, str, str, str], resource: str) -> None:
    arn = Arn(*parts, resource)
    assert Arn.parse(str(arn)) == arn


def test_region_and_account_may_be_empty_and_a_resource_may_hold_colons() -> None:
    arn = Arn.parse("arn:aws:iam::123456789012:role/a:b")
    assert (arn.region, arn.account_id, arn.resource) == ("", "123456789012", "role/a:b")


@pytest.mark.parametrize(
    "text",
    ["", "arn", "arn:aws:iam::123", "ARN:aws:iam:::x", "arn::iam:::x", "arn:aws::::x", "arn:aws:iam:::"],
)
def test_what_is_no_arn_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an ARN"):
        Arn.parse(text)


@pytest.mark.parametrize(
    "text", ["", "1234", "1234567890123", "12345678901x", "١٢٣٤٥٦٧٨٩٠١٢", "123456789012\n"]
)
def test_an_account_id_is_twelve_ascii_digits(text: str) -> None:
    with pytest.raises(ValueError, match="12-digit"):
        account_id(text)


def test_an_account_id_is_itself() -> None:
    assert account_id("000000000001") == "000000000001"


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("eu-central-1", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-east-1", "aws"),
    ],
)
def test_a_region_has_its_partition(region: str, partition: str) -> None:
    assert partition_of(region) == partition
