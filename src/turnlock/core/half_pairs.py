"""Halves of surrogate pairs: JSON can write one (U+D800 alone), and no store, trail or log takes a text with it."""

from __future__ import annotations

import json


def holds_half_pairs(document: object) -> bool:
    """Tell whether a text in what JSON said, or a key, holds half of a surrogate pair; true for what is nested too deeply to tell."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return True
    return False
