"""Random passwords, as GetRandomPassword makes them."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from turnlock.core.drawing import draw_text, shuffled
from turnlock.core.ports import Entropy
from turnlock.errors import InvalidParameterException

_TYPES = (
    ("ExcludeLowercase", string.ascii_lowercase),
    ("ExcludeUppercase", string.ascii_uppercase),
    ("ExcludeNumbers", string.digits),
    ("ExcludePunctuation", string.punctuation),
)


def random_password(request: Mapping[str, Any], entropy: Entropy) -> str:
    """Return a password for GetRandomPassword's input (service model, "GetRandomPasswordRequest").

    32 characters unless PasswordLength says otherwise; one of each included type unless RequireEachIncludedType is
    false. Raises InvalidParameterException when nothing is left to draw from or the length cannot hold every type.
    """
    length: int = request.get("PasswordLength", 32)
    excluded = set(request.get("ExcludeCharacters", ""))
    included = [
        kept
        for flag, alphabet in _TYPES
        if not request.get(flag, False) and (kept := "".join(c for c in alphabet if c not in excluded))
    ]
    every = "".join(included)
    if request.get("IncludeSpace", False) and " " not in excluded:
        every += " "
    if not every:
        raise InvalidParameterException("The password can't be generated: every character is excluded.")
    required = included if request.get("RequireEachIncludedType", True) else []
    if length < len(required):
        raise InvalidParameterException(
            f"Password length {length} is too short to include one character of each of {len(required)} types."
        )
    first = "".join(draw_text(entropy, alphabet, 1) for alphabet in required)
    return shuffled(entropy, first + draw_text(entropy, every, length - len(first)))
