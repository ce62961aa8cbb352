"""The texts that no log line and no error may show: the values in a secret's labelled versions."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import msgspec

from turnlock.rotation.masters import find_master
from turnlock.secrets import Secret, find_version, open_value
from turnlock.storage import Unit

_SPEAKING = frozenset(
    {
        "engine",
        "host",
        "port",
        "dbname",
        "username",
        "ssl",
        "masterarn",
        "dbInstanceIdentifier",
        "dbClusterIdentifier",
    }
)
"""Members of a database secret that may be shown in an error (docs/aws-behaviour.md#values-of-database-secrets)."""

_SHORTEST = 4
"""Shorter texts are not redacted: they occur everywhere, and an error would become unreadable."""


def known_values(unit: Unit, secret: Secret) -> frozenset[str]:
    """Return the values in the labelled versions of the secret and of the master secret that its rotations may read.

    They are the whole texts, and all members except those in `_SPEAKING`.
    """
    texts: set[str] = set()
    master = find_master(unit, secret)
    for owner in (secret,) if master is None else (secret, master):
        for version_id in set(owner.labels.values()):
            version = find_version(unit, owner, version_id)
            value = open_value(unit, owner, version) if version is not None else None
            if value is not None:
                texts.update(_texts(value))
    return frozenset(text for text in texts if len(text) >= _SHORTEST)


def _texts(value: bytes) -> Iterator[str]:
    try:
        yield value.decode()
        document = msgspec.json.decode(value)
    except UnicodeDecodeError:
        yield base64.b64encode(value).decode()
    except (msgspec.DecodeError, RecursionError):
        return
    else:
        yield from _members(document)


def _members(document: object) -> Iterator[str]:
    """Yield every text and number in a parsed document, except the members that may be shown."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(member for name, member in value.items() if name not in _SPEAKING)
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            yield str(value)
