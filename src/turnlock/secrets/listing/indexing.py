"""Keeping a secret's terms up to date, in the transaction that writes the secret.

They are stored twice: in `secret_terms`, ordered by term, to find the few secrets that have a rare term; and as one
text in the secret's row, to test secrets while the list is read in its order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from turnlock.secrets.listing.terms import Term, as_text, from_text, terms_of
from turnlock.secrets.model import Secret
from turnlock.secrets.tables import OWNER, owner_of, secret_terms, secrets
from turnlock.storage import HotQuery, Unit

_TERMS = HotQuery(select(secrets.c.terms).where(*(secrets.c[name] == bindparam(name) for name in OWNER)))
_FOUND_BY = HotQuery(
    select(secrets.c.description, secrets.c.owning_service, secrets.c.primary_region).where(
        *(secrets.c[name] == bindparam(name) for name in OWNER)
    )
)
_KEEP_TEXT = (
    update(secrets)
    .where(*(secrets.c[name] == bindparam(f"_{name}") for name in OWNER))
    .values(terms=bindparam("_terms"))
)
_INSERT_TERMS = {
    "sqlite": sqlite.insert(secret_terms).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(secret_terms).on_conflict_do_nothing(),
}
_DELETE_TERM = delete(secret_terms).where(
    *(
        secret_terms.c[name] == bindparam(f"_{name}")
        for name in ("account_id", "region", "kind", "term", "name")
    )
)


def index_new(unit: Unit, secret: Secret, tags: Mapping[str, str]) -> str:
    """Keep the terms of a secret that is new; return the text for its row."""
    terms = terms_of(secret, tags)
    _insert(unit, secret, terms)
    return as_text(terms)


def reindex(unit: Unit, secret: Secret, tags: Mapping[str, str]) -> None:
    """Update the terms to those of the secret and these tags; only differences are written."""
    wanted, present = terms_of(secret, tags), _present(unit, secret)
    if wanted == present:
        return
    _remove(unit, secret, present - wanted)
    _insert(unit, secret, wanted - present)
    unit.connection.execute(
        _KEEP_TEXT,
        {
            "_account_id": secret.account_id,
            "_region": secret.region,
            "_name": secret.name,
            "_terms": as_text(wanted),
        },
    )


def forget(unit: Unit, secret: Secret) -> None:
    """Remove a secret's terms; to be called before its row goes."""
    _remove(unit, secret, _present(unit, secret))


def found_otherwise(unit: Unit, secret: Secret) -> bool:
    """Tell whether `secret` has other terms than its row, tags aside. Cheap, because every update asks."""
    row = (secret.description, secret.owning_service, secret.primary_region)
    return [row] != _FOUND_BY.rows(unit, owner_of(secret))


def _present(unit: Unit, secret: Secret) -> frozenset[Term]:
    rows = _TERMS.rows(unit, owner_of(secret))
    return from_text(rows[0][0] or "") if rows else frozenset()


def _insert(unit: Unit, secret: Secret, terms: Iterable[Term]) -> None:
    """Insert terms, ignoring those that exist."""
    rows = [{**owner_of(secret), "kind": term.kind, "term": term.text} for term in sorted(terms)]
    if rows:
        unit.connection.execute(_INSERT_TERMS[unit.dialect], rows)


def _remove(unit: Unit, secret: Secret, terms: Iterable[Term]) -> None:
    keys = [
        {
            "_account_id": secret.account_id,
            "_region": secret.region,
            "_kind": term.kind,
            "_term": term.text,
            "_name": secret.name,
        }
        for term in terms
    ]
    if keys:
        unit.connection.execute(_DELETE_TERM, keys)
