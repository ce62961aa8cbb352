"""Temporary credentials, as they are handed to whoever works with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporaryCredentials:
    """The credentials of one role session."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: datetime
    """Aware, UTC; ValueError otherwise."""

    def __post_init__(self) -> None:
        if self.expires_at.utcoffset() != timedelta(0):
            raise ValueError("expires_at must be an aware UTC datetime")

    def good_for(self, span: timedelta, *, now: datetime) -> bool:
        """Tell whether they are still accepted when `span` has passed."""
        return self.expires_at - now > span
