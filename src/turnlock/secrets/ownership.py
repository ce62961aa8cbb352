"""Secrets that another AWS service made and manages: users read them, and change them through that service only.

Nothing here makes such a secret yet; the rule is there before the first one is.
"""

from __future__ import annotations

from turnlock.core.call import Call, PrincipalKind
from turnlock.errors import InvalidRequestException
from turnlock.secrets.model import Secret


def refuse_managed(call: Call, secret: Secret) -> None:
    """Raise InvalidRequestException when a user would change what an owning service manages.

    That is its value, labels, metadata, deletion and rotation function (API reference, the InvalidRequestException of
    these actions). Tags, the resource policy and replicas stay the account's own. Turnlock itself may, and so may the
    rotation functions that it runs, whose sessions carry a fencing number.
    """
    ours = call.principal.kind is PrincipalKind.SERVICE or call.session.fence is not None
    if secret.owning_service is not None and not ours:
        raise InvalidRequestException(
            f"You can't perform this operation on the secret because it is managed by {secret.owning_service}."
        )
