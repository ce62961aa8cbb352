"""Filter patterns over unstructured lines (CloudWatch Logs user guide, "Filter pattern syntax"): terms that must be there.

Terms stand side by side: each must be in the line. `"two words"` is one term; `-term` must not be in it; of `?terms` one must.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from turnlock.errors import InvalidParameterException

_TERM = re.compile(r'([-?]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?:\s+|$)')


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a line matches. Raises InvalidParameterException for a pattern that is not served."""
    text = pattern.strip()
    if text[:1] in ("{", "[", "%"):
        raise InvalidParameterException(
            "Invalid filter pattern: JSON, space-delimited and regular-expression patterns are not supported."
        )
    wanted: dict[str, list[str]] = {"": [], "-": [], "?": []}
    at = 0
    while at < len(text):
        found = _TERM.match(text, at)
        if found is None:
            raise InvalidParameterException("Invalid filter pattern.")
        quoted = found[2]
        wanted[found[1]].append(found[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        at = found.end()
    return lambda line: (
        all(term in line for term in wanted[""])
        and not any(term in line for term in wanted["-"])
        and (not wanted["?"] or any(term in line for term in wanted["?"]))
    )
