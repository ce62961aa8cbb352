"""Which passwords a hosted function asks for, from its environment (the variables of AWS's own functions)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SAFE_PUNCTUATION = "-._"
"""The only punctuation left by default: it means nothing in a URL, a libpq or JDBC string, a shell, YAML or a template."""

DEFAULT_EXCLUDED = "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~"
"""What EXCLUDE_CHARACTERS is when it is not set: all of GetRandomPassword's punctuation but SAFE_PUNCTUATION.

AWS's functions leave out only the six characters / @ " ' \\ : which is a known cause of broken URLs and scripts.
Thirty-two characters out of the remaining sixty-five still carry more than 190 bits.
"""

_LENGTHS = range(8, 129)


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRules:
    """What to ask GetRandomPassword for."""

    length: int = 32
    excluded: str = DEFAULT_EXCLUDED
    no_numbers: bool = False
    no_punctuation: bool = False
    no_uppercase: bool = False
    no_lowercase: bool = False
    one_of_each: bool = True

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> PasswordRules:
        """Read the function's environment; ValueError names the variable that cannot be used."""

        def flag(name: str, default: bool) -> bool:
            text = environment.get(name, "").strip().lower() or str(default).lower()
            if text not in ("true", "false"):
                raise ValueError(f"{name} must be true or false")
            return text == "true"

        length = environment.get("PASSWORD_LENGTH", "32")
        if not (length.isascii() and length.isdigit()) or int(length) not in _LENGTHS:
            raise ValueError(f"PASSWORD_LENGTH must be a number from {_LENGTHS[0]} to {_LENGTHS[-1]}")
        return cls(
            length=int(length),
            excluded=environment.get("EXCLUDE_CHARACTERS", DEFAULT_EXCLUDED),
            no_numbers=flag("EXCLUDE_NUMBERS", False),
            no_punctuation=flag("EXCLUDE_PUNCTUATION", False),
            no_uppercase=flag("EXCLUDE_UPPERCASE", False),
            no_lowercase=flag("EXCLUDE_LOWERCASE", False),
            one_of_each=flag("REQUIRE_EACH_INCLUDED_TYPE", True),
        )

    def request(self) -> dict[str, Any]:
        """Return the input of GetRandomPassword."""
        return {
            "PasswordLength": self.length,
            "ExcludeCharacters": self.excluded,
            "ExcludeNumbers": self.no_numbers,
            "ExcludePunctuation": self.no_punctuation,
            "ExcludeUppercase": self.no_uppercase,
            "ExcludeLowercase": self.no_lowercase,
            "RequireEachIncludedType": self.one_of_each,
        }
