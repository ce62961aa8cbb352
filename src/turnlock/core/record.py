"""What the trail keeps of one event, once its bytes are made."""

from __future__ import annotations

from datetime import datetime

import msgspec

from turnlock.core.arn import AccountId, Region


class TrailEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One CloudTrail-shaped record, serialised and already free of sensitive members."""

    account_id: AccountId
    region: Region
    event_id: str
    event_name: str
    at: datetime
    body: bytes
    """The record as JSON, in UTF-8."""
