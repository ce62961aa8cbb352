"""OpenID Connect providers in their table, with the keys that they published last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from turnlock.accounts import oidc_providers
from turnlock.core.arn import AccountId
from turnlock.root_keys import Records
from turnlock.storage import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcProvider:
    """One identity provider that an account trusts."""

    account_id: AccountId
    url: str
    """Without `https://`: host and path, as in the provider's ARN and in condition keys."""
    client_ids: tuple[str, ...]
    thumbprints: tuple[str, ...]
    created_at: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    keys: str | None = None
    """The JSON Web Key Set (RFC 7517) that the provider published last; None before the first fetch."""
    fetched_at: datetime | None = None
    tried_at: datetime | None = None
    """When it was asked for its keys last, with or without success."""

    @property
    def arn(self) -> str:
        """`arn:aws:iam::ACCOUNT:oidc-provider/HOST/PATH`."""
        return f"arn:aws:iam::{self.account_id}:oidc-provider/{self.url}"

    @property
    def issuer(self) -> str:
        """The `iss` of its tokens."""
        return f"https://{self.url}"

    def evolve(self, **changes: Any) -> OidcProvider:
        """Return a copy with these members changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysWanted:
    """A provider's keys are not known, or the one that a token names is not among them."""

    account_id: AccountId
    url: str


PROVIDERS: Final = Records(
    oidc_providers, OidcProvider, lambda one: {"account_id": one.account_id, "url": one.url}
)


def find_provider(unit: Unit, account_id: AccountId, url: str) -> OidcProvider | None:
    """Return the provider of this address (without `https://`), or None."""
    return PROVIDERS.find(unit, account_id=account_id, url=url)


def providers_of(unit: Unit, account_id: AccountId) -> list[OidcProvider]:
    """Return an account's providers, by address."""
    return PROVIDERS.all(unit, oidc_providers.c.account_id == account_id)


def count_providers(unit: Unit, account_id: AccountId) -> int:
    """Return how many providers an account trusts."""
    return PROVIDERS.count(unit, oidc_providers.c.account_id == account_id)


def every_provider(unit: Unit) -> list[OidcProvider]:
    """Return the providers of all accounts."""
    return PROVIDERS.all(unit)
