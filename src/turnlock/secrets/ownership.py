"""Changes that are reserved to the service or the account that owns a secret.

A secret that another AWS service manages is changed through that service; users can read it. A value under the default
key stays in its account.
"""

from __future__ import annotations

from collections.abc import Mapping

from turnlock.core.call import Call, PrincipalKind
from turnlock.errors import InvalidRequestException
from turnlock.secrets.model import Secret
from turnlock.secrets.tags.store import save_tags
from turnlock.secrets.values.changes import update_secret
from turnlock.storage import Unit


def hand_over(unit: Unit, secret: Secret, owning_service: str, tags: Mapping[str, str]) -> Secret:
    """Make a service the owner of a secret, and add the service's tags; return the secret."""
    owned = secret.evolve(owning_service=owning_service)
    save_tags(unit, owned, tags)
    update_secret(unit, owned)
    return owned


def refuse_default_key(call: Call, secret: Secret) -> None:
    """Raise InvalidRequestException for another account's secret under aws/secretsmanager, which serves its own account alone."""
    if secret.kms_key_id is None:
        refuse_across_accounts(call, secret)


def refuse_across_accounts(call: Call, secret: Secret) -> None:
    """Raise InvalidRequestException for a value under aws/secretsmanager whose secret is of another account than the caller."""
    if call.principal.account_id != secret.account_id:
        raise InvalidRequestException(
            "You can't access a secret from a different AWS account if you encrypt the secret with the default KMS"
            " service key."
        )


def refuse_managed(call: Call, secret: Secret) -> None:
    """Raise InvalidRequestException when a user would change what an owning service manages.

    That is its value, labels, metadata, deletion and rotation function (API reference, the InvalidRequestException of
    these actions). Users may change tags, the resource policy and replicas. Turnlock itself may change everything, and
    so may its rotation functions, whose sessions carry a fencing number.
    """
    ours = call.principal.kind is PrincipalKind.SERVICE or call.session.fence is not None
    if secret.owning_service is not None and not ours:
        raise InvalidRequestException(
            f"You can't perform this operation on the secret because it is managed by {secret.owning_service}."
        )
