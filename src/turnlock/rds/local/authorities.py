"""The file of certificates with which rotation functions verify databases: the operator's or the system's, and our own servers'."""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path
from typing import Final

FILE_NAME: Final = "ca-bundle.pem"


class Authorities:
    """Keeps the file up to date: `given` (PEM; None: the system's) and the authority of each server below `data_dir`.

    Each server's authority signed that one server and its key is forgotten: to trust the file is to trust no one new.
    """

    def __init__(self, data_dir: Path, given: Path | None) -> None:
        self._directory = (data_dir / "databases").absolute()
        self._given = given

    @property
    def path(self) -> Path:
        """The file, absolute; anyone may read it."""
        return self._directory / FILE_NAME

    def write(self) -> None:
        """Write it anew, if it is to hold anything else than it does. OSError when that cannot be done."""
        parts = [self._base(), *(ca.read_bytes() for ca in sorted(self._directory.glob("*/tls/ca.pem")))]
        content = b"\n".join(part.rstrip() for part in parts if part) + b"\n"
        if self.path.exists() and self.path.read_bytes() == content:
            return
        self._directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        descriptor, fresh = tempfile.mkstemp(dir=self._directory, prefix=f".{FILE_NAME}-")
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)
            file.write(content)
        Path(fresh).replace(self.path)

    def _base(self) -> bytes:
        if self._given is not None:
            return self._given.read_bytes()
        system = Path(ssl.get_default_verify_paths().cafile or "")
        return system.read_bytes() if system.is_file() else b""
