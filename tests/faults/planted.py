"""Looking for a text in bytes, in whatever way it may have been written there."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes


def spellings(text: str) -> dict[str, bytes]:
    """Return the ways in which a text may stand in a file, by name; in the Base64 ones what comes before it does not matter."""
    raw = text.encode()
    ways = {
        "raw": raw,
        "hexadecimal": raw.hex().encode(),
        "capital hexadecimal": raw.hex().upper().encode(),
        "JSON escapes": "".join(f"\\u{ord(one):04x}" for one in text).encode(),
        "percent": "".join(f"%{byte:02X}" for byte in raw).encode(),
        "quoted": quote_from_bytes(raw).encode(),
        "UTF-16 LE": text.encode("utf-16-le"),
        "UTF-16 BE": text.encode("utf-16-be"),
        "backwards": raw[::-1],
    }
    for before in range(3):
        # The first characters hang on what comes before, the last ones on what follows.
        whole = base64.b64encode(b"\0" * before + raw + b"\0" * 2)
        inner = whole[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]
        ways[f"Base64 at {before}"] = inner
        ways[f"URL-safe Base64 at {before}"] = inner.replace(b"+", b"-").replace(b"/", b"_")
    return ways


def found_in(data: bytes, texts: Iterable[str]) -> list[str]:
    """Return how each text that is in the data is written there."""
    return [f"{text} as {way}" for text in texts for way, spelt in spellings(text).items() if spelt in data]


def found_below(
    directories: Iterable[Path], texts: Iterable[str], *, but: Iterable[str] = ()
) -> Iterator[str]:
    """Yield each file below directories that holds one of the texts, and how; files named in `but` are not read."""
    left_out, wanted = set(but), list(texts)
    for path in (path for directory in directories for path in sorted(directory.rglob("*"))):
        if path.is_file() and path.name not in left_out:
            for way in found_in(path.read_bytes(), wanted):
                yield f"{path}: {way}"
