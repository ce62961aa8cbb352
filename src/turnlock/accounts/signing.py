"""The signing keys of requests, kept while they are in use."""

from __future__ import annotations

from collections.abc import Callable

from turnlock.accounts.credentials import unseal_secret
from turnlock.accounts.model import Credential
from turnlock.core.recent import Recent
from turnlock.storage import Unit


class SigningKeys:
    """Derives SigV4 signing keys and keeps the last `size` of them; any thread may ask.

    A kept key is found under the sealed secret and all that its row says, which the same request has read: the key of a
    row that was changed or deleted since is never found again. A signing key is good for one day, Region and service,
    and opens nothing else (AWS General Reference, "Signature Version 4").
    """

    def __init__(self, size: int = 1024) -> None:
        self._kept = Recent[bytes](size)

    def get(
        self,
        unit: Unit,
        credential: Credential,
        *,
        date: str,
        region: str,
        service: str,
        derive: Callable[[str], bytes],
    ) -> bytes:
        """Return the signing key of a credential scope; `derive` makes it from the secret access key.

        `date` is the scope's, `YYYYMMDD`. Raises SealBroken when the credential's row is not the one that was stored.
        """
        principal = credential.principal
        place = (principal.account_id, credential.sealed_for, credential.part, credential.sealed_secret)
        return self._kept.get(
            (*place, date, region, service), lambda: derive(unseal_secret(unit, credential))
        )
