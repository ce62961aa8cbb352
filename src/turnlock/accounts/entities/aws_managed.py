"""The policies that AWS manages and that this server knows: by their ARNs; their documents are in `aws_managed.json`.

Each allows what its documentation says (AWS managed policy reference guide). Those over all of AWS's services (ReadOnlyAccess,
SecurityAudit, ViewOnlyAccess) are kept for the services that are served here: AWS's own documents change every few weeks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsManagedPolicy:
    """One policy of AWS."""

    name: str
    path: str = "/"
    id: str
    description: str
    document: str = field(repr=False)

    @property
    def arn(self) -> str:
        """`arn:aws:iam::aws:policy/…`."""
        return f"arn:aws:iam::aws:policy{self.path}{self.name}"


MADE: Final = datetime(2026, 11, 25, tzinfo=UTC)
"""The day from which these documents are."""


def _read(raw: Mapping[str, Any]) -> AwsManagedPolicy:
    return AwsManagedPolicy(**{**raw, "document": json.dumps(raw["document"])})


AWS_MANAGED: Final[Mapping[str, AwsManagedPolicy]] = MappingProxyType(
    {
        policy.arn: policy
        for policy in map(_read, json.loads(Path(__file__).with_suffix(".json").read_bytes()))
    }
)
"""By ARN."""
