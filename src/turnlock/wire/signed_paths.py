"""The path as a signature has it, from the path as the HTTP server hands it over: decoded once.

A signature covers the path as it was sent, percent-encoded once more. How it was sent is not known any more, but there are few
ways: each of them decodes to the path that is acted upon, so a signature that holds for one of them was made for this path.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from turnlock.errors import InvalidSignatureException

_SENT = ("/-._~", "/-._~:", "/-._~:@!$&'()*+,;=")
"""What clients leave as it is in a path: SDKs nothing, some the colon of ARNs, others all that RFC 3986 (3.3) allows there."""


def canonical_paths(path: str) -> Sequence[str]:
    """Return the resolved path in each way in which it may have been sent, percent-encoded once more: so it is signed.

    Every service but S3 signs it so.
    """
    if path == "/":
        return ("/",)
    resolved = _resolved(path)
    try:
        sent = dict.fromkeys(quote(resolved, safe=kept, errors="strict") for kept in _SENT)
    except UnicodeEncodeError:  # a lone surrogate: this was never sent
        raise InvalidSignatureException from None
    return [quote(each, safe="/~") for each in sent]


def _resolved(path: str) -> str:
    """Return `path` without dot segments and doubled slashes (RFC 3986, 5.2.4)."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in {"", "."}:
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")
