"""Files that only their owner may read, written so that a crash leaves the old state or the new one."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write_private(path: Path, text: str, *, replace: bool) -> None:
    """Write a file of mode 0600 in one step that is durable on return.

    A reader sees the whole file or none. With `replace` an older file gives way; without, FileExistsError says that it
    is there, also when another process made it at the same moment. Other OSErrors pass.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write_new(draft, text.encode())
        if replace:
            draft.replace(path)
        else:
            # Unlike a rename, a link never takes the place of a file that is there.
            path.hardlink_to(draft)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
    _sync_directory(path.parent)


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, 0o600)
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
