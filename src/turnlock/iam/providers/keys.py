"""Fetching the keys of identity providers, outside of any request: nobody who calls ever waits for another's server.

A provider is asked when it is made, then once an hour, and when a token names a key that is not known, but not more than
once in PAUSE: whoever invents key names makes no traffic. What it publishes is kept in its row, so that every worker and
node has it, and keys that could not be fetched anew stay good until they could.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, Protocol

import msgspec
import structlog

from turnlock.errors import EgressFailed
from turnlock.iam.providers.store import PROVIDERS, KeysWanted, OidcProvider, every_provider, find_provider
from turnlock.iam.providers.web_tokens import read_keys
from turnlock.storage import Database, Unit

log = structlog.get_logger(__name__)

REFRESH: Final = timedelta(hours=1)
PAUSE: Final = timedelta(seconds=10)
"""How long a provider is left alone after it was asked."""
TICK_SECONDS: Final = 30.0


class Get(Protocol):
    """Fetches an address: `egress.Egress.get`."""

    def __call__(self, url: str, *, thumbprints: Collection[str] = ()) -> bytes:
        """Return the body of a 200 answer. Raises EgressFailed."""
        ...


class _Discovered(msgspec.Struct):
    """What counts of a provider's configuration (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    jwks_uri: str


class ProviderKeys:
    """Keeps the keys of all providers fresh. Any thread may note that one is wanted; one ticks."""

    def __init__(self, get: Get) -> None:
        self._get = get
        self._wanted: set[tuple[str, str]] = set()
        self._lock = Lock()
        self.wake: Callable[[], None] = _nobody
        """Called when there is a key to fetch, after the commit of what it is for."""

    def note(self, unit: Unit, wanted: KeysWanted) -> None:
        """Remember that a provider's keys are wanted; a subscriber's form."""
        place = (wanted.account_id, wanted.url)
        with self._lock:
            is_new = place not in self._wanted
            self._wanted.add(place)
        if is_new:  # who shows one token with an unknown key after another keeps nobody busy
            self.wake()
        # Again once a new provider is committed; a call that is refused for want of the key commits nothing.
        unit.after_commit(self.wake)

    def tick(self, database: Database) -> float:
        """Fetch what is due; return how many seconds to wait before the next time."""
        with self._lock:
            wanted = frozenset(self._wanted)
        now, providers = database.read(lambda unit: (unit.now, every_provider(unit)))
        due = [one for one in providers if is_due(one, now, wanted=_place(one) in wanted)]
        for provider in due:
            self._refresh(database, provider)
        # What was asked of a provider that was asked just now is left for later; what is of none is of no use.
        left = (wanted & {_place(one) for one in providers}) - {_place(one) for one in due}
        with self._lock:
            self._wanted -= wanted - left
        return PAUSE.total_seconds() / 2 if left else TICK_SECONDS

    def _refresh(self, database: Database, provider: OidcProvider) -> None:
        keys: str | None = None
        try:
            keys = self._fetch(provider)
        except (EgressFailed, ValueError) as error:
            log.warning(
                "the keys of an identity provider could not be fetched",
                action="provider_keys_failed",
                provider=provider.arn,
                reason=str(error) if isinstance(error, EgressFailed) else "it published no keys of use",
            )
        database.write(lambda unit: _keep(unit, provider, keys))

    def _fetch(self, provider: OidcProvider) -> str:
        """Return what a provider publishes. Raises EgressFailed, ValueError."""
        address = f"{provider.issuer.removesuffix('/')}/.well-known/openid-configuration"
        found = msgspec.json.decode(self._get(address, thumbprints=provider.thumbprints), type=_Discovered)
        if found.issuer != provider.issuer:
            raise ValueError("the configuration is another issuer's")
        return read_keys(self._get(found.jwks_uri, thumbprints=provider.thumbprints))


def _place(provider: OidcProvider) -> tuple[str, str]:
    return provider.account_id, provider.url


def is_due(provider: OidcProvider, now: datetime, *, wanted: bool) -> bool:
    """Tell whether a provider is to be asked now."""
    if provider.tried_at is None:
        return True
    if now - provider.tried_at < PAUSE:
        return False
    return wanted or now - provider.tried_at >= REFRESH


def _keep(unit: Unit, provider: OidcProvider, keys: str | None) -> None:
    """Keep what was fetched, if the provider is still there; without it, only when it was tried."""
    now = find_provider(unit, provider.account_id, provider.url)
    if now is None:
        return
    changed = now.evolve(tried_at=unit.now)
    PROVIDERS.replace(unit, now, changed if keys is None else changed.evolve(keys=keys, fetched_at=unit.now))


def _nobody() -> None:
    """Wake nothing: no loop is joined yet."""
