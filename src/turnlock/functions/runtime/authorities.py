"""The file of authorities that vouch for databases: where functions see it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from turnlock.confinement.orders import Place, shown

AT: Final = (
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs/ca-bundle.crt",
    "/var/runtime/ca-cert.pem",
)
"""Paths of the authorities in Lambda's images, which functions have in their code (AWS's rotation functions the first)."""


def places(file: Path | None) -> tuple[Place, ...]:
    """Return the places of a file of authorities, where Lambda's images have theirs; none for no file."""
    if file is None:
        return ()
    return tuple(shown(str(file), at=path) for path in AT)


def stamp(file: Path | None) -> str:
    """Return what changes with a file: a warm process goes on seeing the one that it was started with."""
    if file is None:
        return ""
    try:
        found = file.stat()
    except FileNotFoundError:
        return ""
    return f"{found.st_ino} {found.st_mtime_ns}"
