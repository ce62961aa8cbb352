"""What the trail keeps of one event, once its bytes are made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from turnlock.core.arn import AccountId, Region


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailEntry:
    """One CloudTrail-shaped record, serialised and already free of sensitive members."""

    account_id: AccountId
    region: Region
    event_id: str
    event_name: str
    at: datetime
    body: bytes
    """The record as JSON, in UTF-8."""
