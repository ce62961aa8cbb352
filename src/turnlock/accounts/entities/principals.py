"""The principals that there are, by ARN and all of an account: for whoever asks about them without being them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple

from turnlock.accounts.entities.model import Identity, Kind, spoken
from turnlock.accounts.entities.store import identities_named, identities_of
from turnlock.accounts.model import role_session, root_principal
from turnlock.core.arn import AccountId, Arn
from turnlock.core.call import Principal, PrincipalKind
from turnlock.storage import Unit

ANY_SESSION = "any-session"
"""The name of the session that stands for all of a role's."""


def find_principal(unit: Unit, arn: str) -> Principal | None:
    """Return the root user, the user, or a session of the role that an ARN names; None for one that is not there.

    The ARN is that of a user, of a role, of an assumed role's session, or `arn:aws:iam::ACCOUNT:root`.
    """
    return find_principals(unit, (arn,)).get(arn)


def find_principals(unit: Unit, arns: Collection[str]) -> Mapping[str, Principal]:
    """Return those of some principals that are there, by ARN: one query for each account and kind, however many there are."""
    named = {arn: one for arn in arns if (one := _named(arn)) is not None}
    wanted: defaultdict[tuple[AccountId, Kind], set[str]] = defaultdict(set)
    for one in named.values():
        if one.kind is not None:
            wanted[one.account_id, one.kind].add(one.name)
    there = {
        (account_id, kind, spoken(identity.name)): identity
        for (account_id, kind), names in wanted.items()
        for identity in identities_named(unit, account_id, kind, names)
    }
    found: dict[str, Principal] = {}
    for arn, one in named.items():
        if one.kind is None:
            found[arn] = root_principal(one.account_id)
            continue
        identity = there.get((one.account_id, one.kind, spoken(one.name)))
        if identity is not None and one.session is not None:
            found[arn] = _session(identity, one.session or ANY_SESSION)
        elif identity is not None and identity.arn == arn:
            found[arn] = principal_of(identity)
    return found


class _Named(NamedTuple):
    """Whom an ARN names."""

    account_id: AccountId
    kind: Kind | None
    """None for the root user."""
    name: str
    session: str | None
    """None for what is no session."""


def _named(arn: str) -> _Named | None:
    try:
        parsed = Arn.parse(arn)
    except ValueError:
        return None
    account_id = AccountId(parsed.account_id)
    noun, _, rest = parsed.resource.partition("/")
    if (parsed.service, parsed.resource) == ("iam", "root"):
        return _Named(account_id, None, "", None)
    if (parsed.service, noun) == ("sts", "assumed-role"):
        name, _, session = rest.partition("/")
        return _Named(account_id, Kind.ROLE, name, session)
    kind = {"user": Kind.USER, "role": Kind.ROLE}.get(noun)
    if parsed.service != "iam" or kind is None:
        return None
    return _Named(account_id, kind, rest.rpartition("/")[2], None)


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
