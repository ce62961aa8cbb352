"""Ids and secrets that identity draws."""

from __future__ import annotations

from typing import Final

from turnlock.core.drawing import ALPHANUMERICS, draw_text
from turnlock.core.ports import Entropy

_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def draw_key_id(entropy: Entropy, prefix: str) -> str:
    """Return an access key id: `AKIA` or `ASIA`, and 16 characters."""
    return prefix + draw_text(entropy, _ALPHABET, 16)


def draw_secret(entropy: Entropy) -> str:
    """Return a secret access key of 40 characters."""
    # AWS's may hold "/" and "+", which break in URLs and shells; 40 alphanumerics are 238 bits all the same.
    return draw_text(entropy, ALPHANUMERICS, 40)


def draw_unique_id(entropy: Entropy, prefix: str) -> str:
    """Return the unique id of an identity or a policy: 21 characters (IAM user guide, "Unique identifiers")."""
    return prefix + draw_text(entropy, _ALPHABET, 17)
