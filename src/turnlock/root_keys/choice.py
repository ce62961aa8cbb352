"""From `--root-key` to the provider of the root key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from turnlock.config import RootKeyChoice
from turnlock.core.ports import Clock, Entropy
from turnlock.errors import ConfigurationError
from turnlock.root_keys.passphrase import PassphraseRootKey
from turnlock.root_keys.pkcs11 import Pkcs11Place, Pkcs11RootKey
from turnlock.root_keys.provider import FileRootKey, RootKeyProvider
from turnlock.root_keys.sources import CommandRootKey, EnvironmentRootKey


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """The parts from which a provider is made."""

    argument: str
    """The text after the colon."""
    passphrase: str | None
    data_dir: Path
    clock: Clock
    entropy: Entropy


def root_key_provider(
    choice: RootKeyChoice, data_dir: Path, *, clock: Clock, entropy: Entropy
) -> RootKeyProvider:
    """Return the provider. Raises ConfigurationError for an unknown one, or one without what it needs."""
    kind, colon, argument = choice.spec.partition(":")
    make = _PROVIDERS.get(kind)
    if make is None or (not argument and kind not in {"file", "passphrase"}) or (colon and not argument):
        raise ConfigurationError(
            "--root-key must be file:PATH, env:NAME, passphrase, command:COMMAND or pkcs11:URI."
        )
    chosen = _Chosen(
        argument=argument, passphrase=choice.passphrase, data_dir=data_dir, clock=clock, entropy=entropy
    )
    return make(chosen)


def _file(chosen: _Chosen) -> RootKeyProvider:
    path = Path(chosen.argument) if chosen.argument else chosen.data_dir / "root.key"
    return FileRootKey(path, clock=chosen.clock, entropy=chosen.entropy)


def _environment(chosen: _Chosen) -> RootKeyProvider:
    return EnvironmentRootKey(chosen.argument, chosen.entropy)


def _passphrase(chosen: _Chosen) -> RootKeyProvider:
    if not chosen.passphrase:
        raise ConfigurationError("The root key comes from a passphrase, and none was given.")
    path = Path(chosen.argument) if chosen.argument else chosen.data_dir / "root.passphrase"
    return PassphraseRootKey(path, chosen.passphrase, clock=chosen.clock, entropy=chosen.entropy)


def _command(chosen: _Chosen) -> RootKeyProvider:
    return CommandRootKey(chosen.argument, chosen.entropy)


def _pkcs11(chosen: _Chosen) -> RootKeyProvider:
    return Pkcs11RootKey(Pkcs11Place.parse(chosen.argument), clock=chosen.clock, entropy=chosen.entropy)


_PROVIDERS: Final[Mapping[str, Callable[[_Chosen], RootKeyProvider]]] = {
    "command": _command,
    "env": _environment,
    "file": _file,
    "passphrase": _passphrase,
    "pkcs11": _pkcs11,
}
