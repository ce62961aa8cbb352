"""Unpacked packages on this machine: one directory for each, made once by each worker, below one that strangers cannot list."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from turnlock.functions.code.packages import unpack

KEPT: Final = 64
"""How many unpacked packages stay; more only while they are in use."""


class CodeCache:
    """Unpacks packages by their id. Safe to use from many threads; `close` removes everything."""

    def __init__(self) -> None:
        self._root: Path | None = None
        self._lock = threading.Lock()
        self._places: dict[str, Path] = {}

    def place(self, code_id: str, content: Callable[[], bytes]) -> Path:
        """Return the directory of a package; `content` is asked for it where it is not unpacked yet."""
        with self._lock:
            found = self._places.pop(code_id, None)
            if found is None:
                found = self._unpack(content())
            self._places[code_id] = found  # the newest is last
            if len(self._places) > KEPT:
                self._drop(next(iter(self._places)))
        return found

    def close(self) -> None:
        """Remove everything that was unpacked."""
        with self._lock:
            if self._root is not None:
                shutil.rmtree(self._root, ignore_errors=True)
            self._root, self._places = None, {}

    def _unpack(self, content: bytes) -> Path:
        if self._root is None:
            self._root = Path(tempfile.mkdtemp(prefix="turnlock-code-"))
            self._root.chmod(0o711)
        target = self._root / secrets.token_hex(16)
        unpack(content, target)
        return target

    def _drop(self, code_id: str) -> None:
        """Remove the package that nobody asked for longest; a process that still runs it keeps what it has loaded."""
        shutil.rmtree(self._places.pop(code_id), ignore_errors=True)
