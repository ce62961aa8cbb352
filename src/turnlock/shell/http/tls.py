"""The certificate and key that a listener shows, read again when their files change."""

from __future__ import annotations

import ssl
from pathlib import Path

import structlog

from turnlock.errors import ConfigurationError

log = structlog.get_logger(__name__)

_Seen = tuple[tuple[int, int, int], ...]


class Certificates:
    """A certificate's chain and its key, in files (PEM). Raises ConfigurationError when they cannot be used at the start."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._seen = self._stamps()
        try:
            self._context = self._load()
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"--tls-cert {certificate} and --tls-key {key} cannot be used: {error}."
            ) from None

    @property
    def context(self) -> ssl.SSLContext:
        """What new connections are accepted with."""
        return self._context

    def look(self, *, asked: bool = False) -> None:
        """Read the files again if they have changed, or an operator asked; what cannot be used is logged, and the last stays."""
        seen = self._stamps()
        if seen == self._seen and not asked:
            return
        self._seen = seen
        try:
            self._context = self._load()
        except (
            OSError,
            ValueError,
        ) as error:  # a key that is not written yet will change the files once more
            log.error("the certificate cannot be used; the last one stays", action="certificate_refused", reason=str(error))  # fmt: skip  # noqa: TRY400
        else:
            log.info("the certificate was read again", action="certificate_read")

    def _stamps(self) -> _Seen:
        stamps = []
        for path in self._files:
            try:
                status = path.stat()
            except OSError:
                stamps.append((0, 0, 0))
            else:
                stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(stamps)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(*self._files, password=_no_password)
        return context


def _no_password() -> str:
    raise ValueError("the key is protected by a passphrase")
