"""What this room announces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerWanted:
    """A local server is to be started, stopped, given a password or removed: whoever looks after them looks now."""
