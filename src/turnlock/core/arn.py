"""Amazon Resource Names and the identifiers inside them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType

AccountId = NewType("AccountId", str)
"""Twelve decimal digits."""

Region = NewType("Region", str)
"""An AWS Region name, such as `eu-central-1`."""

_ACCOUNT_ID = re.compile(r"[0-9]{12}")


def account_id(text: str) -> AccountId:
    """Return `text` as an AccountId; ValueError unless it is twelve digits."""
    if not _ACCOUNT_ID.fullmatch(text):
        raise ValueError(f"not a 12-digit account id: {text!r}")
    return AccountId(text)


@dataclass(frozen=True, slots=True)
class Arn:
    """`arn:partition:service:region:account-id:resource` (AWS General Reference, "Amazon Resource Names")."""

    partition: str
    service: str
    region: str
    account_id: str
    resource: str

    @classmethod
    def parse(cls, text: str) -> Arn:
        """Split `text` into its parts; ValueError when it is not an ARN. The resource may hold colons."""
        return _parse(text)

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.service}:{self.region}:{self.account_id}:{self.resource}"


@lru_cache(maxsize=4096)
def _parse(text: str) -> Arn:
    """Read an ARN once: the gate asks for the account of the same resources again and again."""
    parts = text.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn" or not (parts[1] and parts[2] and parts[5]):
        raise ValueError(f"not an ARN: {text!r}")
    return Arn(*parts[1:])


def partition_of(region: str) -> str:
    """Return the partition that a Region belongs to: `aws`, `aws-cn` or `aws-us-gov`."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"
