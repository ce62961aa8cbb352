"""Policy documents as IAM takes them: read by the grammar, measured by its limits, shown as it shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from turnlock.accounts import POLICY_CHARACTERS, TRUST_CHARACTERS, counted
from turnlock.errors import LimitExceededException, MalformedPolicyDocumentException
from turnlock.policies import Document, read_identity_policy, read_trust_policy

_ASSUMING: Final = "sts:"


def check_identity_policy(text: str) -> None:
    """Raise MalformedPolicyDocumentException unless the text is a policy of an identity: one that names no principal."""
    _read(text, read_identity_policy)


def check_managed_policy(text: str) -> None:
    """As check_identity_policy; LimitExceededException for a document that is too long for a managed policy."""
    if counted(text) > POLICY_CHARACTERS:
        raise LimitExceededException(f"Cannot exceed quota for PolicySize: {POLICY_CHARACTERS}")
    check_identity_policy(text)


def check_trust_policy(text: str) -> None:
    """Raise MalformedPolicyDocumentException unless the text is a trust policy: principals and sts actions, no resource."""
    if counted(text) > TRUST_CHARACTERS:
        raise LimitExceededException(f"Cannot exceed quota for ACLSizePerRole: {TRUST_CHARACTERS}")
    document = _read(text, read_trust_policy)
    for statement in document.statements:
        if statement.actions.negated or not all(map(_assumes, statement.actions.texts)):
            raise MalformedPolicyDocumentException(
                "AssumeRole policy may only specify STS AssumeRole actions."
            )


def shown(text: str) -> str:
    """Return a document as IAM answers it: URL-encoded (RFC 3986), which every SDK undoes."""
    return quote(text, safe="")


def _assumes(action: str) -> bool:
    return action == "*" or action.lower().startswith(_ASSUMING)


def _read(text: str, reader: Callable[[str], Document]) -> Document:
    try:
        return reader(text)
    except ValueError as error:
        raise MalformedPolicyDocumentException(f"Syntax errors in policy. {error}") from None
