"""The principals that there are, by ARN and all of an account: for whoever asks about them without being them."""

from __future__ import annotations

from turnlock.core.arn import AccountId, Arn
from turnlock.core.call import Principal, PrincipalKind
from turnlock.identity.iam.model import Identity, Kind
from turnlock.identity.iam.store import find_identity, identities_of
from turnlock.identity.model import role_session, root_principal
from turnlock.storage import Unit

ANY_SESSION = "any-session"
"""The name of the session that stands for all of a role's."""


def find_principal(unit: Unit, arn: str) -> Principal | None:
    """Return the root user, the user, or a session of the role that an ARN names; None for one that is not there.

    The ARN is that of a user, of a role, of an assumed role's session, or `arn:aws:iam::ACCOUNT:root`.
    """
    try:
        parsed = Arn.parse(arn)
    except ValueError:
        return None
    account_id = AccountId(parsed.account_id)
    noun, _, rest = parsed.resource.partition("/")
    if (parsed.service, parsed.resource) == ("iam", "root"):
        return root_principal(account_id)
    if (parsed.service, noun) == ("sts", "assumed-role"):
        name, _, session = rest.partition("/")
        role = find_identity(unit, account_id, Kind.ROLE, name)
        return None if role is None else _session(role, session or ANY_SESSION)
    kind = {"user": Kind.USER, "role": Kind.ROLE}.get(noun)
    if parsed.service != "iam" or kind is None:
        return None
    found = find_identity(unit, account_id, kind, rest.rpartition("/")[2])
    return principal_of(found) if found is not None and found.arn == arn else None


def principals_of(unit: Unit, account_id: AccountId) -> list[Principal]:
    """Return an account's root user, its users, and a session of each of its roles."""
    found = [*identities_of(unit, account_id, Kind.USER), *identities_of(unit, account_id, Kind.ROLE)]
    return [root_principal(account_id), *map(principal_of, found)]


def principal_of(identity: Identity) -> Principal:
    """Return a user, or a session of a role, as a principal."""
    if identity.kind is Kind.ROLE:
        return _session(identity, ANY_SESSION)
    return Principal(
        kind=PrincipalKind.USER,
        arn=identity.arn,
        account_id=identity.account_id,
        principal_id=identity.id,
    )


def _session(role: Identity, name: str) -> Principal:
    return role_session(role.account_id, role_name=role.name, role_id=role.id, session_name=name)
