"""What lists search by, and when a version was last read."""

import re
from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SECRET = ("account_id", "region", "name")
_WORD = re.compile(r"[A-Z]*[a-z]+|[A-Z]+|[0-9]+")
_BATCH = 500


def upgrade() -> None:
    """Expand: nullable columns, indexes, and a table, filled for the secrets that are there."""
    op.add_column("secret_versions", sa.Column("last_accessed_at", sa.BigInteger))
    op.add_column("secrets", sa.Column("terms", sa.Text))
    op.create_index("ix_secrets_changed", "secrets", ["account_id", "region", "last_changed_at", "name"])
    op.create_index("ix_secrets_accessed", "secrets", ["account_id", "region", "last_accessed_at", "name"])
    terms = op.create_table(
        "secret_terms",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("kind", sa.String(1)),
        sa.Column("term", sa.String(512).with_variant(sa.String(512, collation="C"), "postgresql")),
        sa.Column("name", sa.String(512)),
        sa.PrimaryKeyConstraint("account_id", "region", "kind", "term", "name", name="pk_secret_terms"),
        sqlite_with_rowid=False,
    )
    _fill(op.get_bind(), terms)


def _fill(connection: sa.Connection, terms: sa.Table) -> None:
    columns = (*_SECRET, "description", "owning_service", "primary_region", "terms")
    secrets = sa.table("secrets", *(sa.column(name) for name in columns))
    keep_text = (
        sa.update(secrets)
        .where(*(secrets.c[name] == sa.bindparam(f"_{name}") for name in _SECRET))
        .values(terms=sa.bindparam("_terms"))
    )
    tags = sa.table("secret_tags", *(sa.column(name) for name in (*_SECRET, "tag_key", "tag_value")))
    tagged: dict[tuple[str, ...], dict[str, str]] = {}
    for *owner, key, value in connection.execute(sa.select(tags)):
        tagged.setdefault(tuple(owner), {})[key] = value
    found = connection.execute(sa.select(secrets)).mappings().all()
    for start in range(0, len(found), _BATCH):
        rows = [
            (row, _terms(row, tagged.get((*(row[c] for c in _SECRET),), {})))
            for row in found[start : start + _BATCH]
        ]
        connection.execute(
            keep_text,
            [
                {
                    **{f"_{column}": row[column] for column in _SECRET},
                    "_terms": "".join(f"\n{kind}{term}" for kind, term in sorted(wanted)),
                }
                for row, wanted in rows
            ],
        )
        connection.execute(
            terms.insert(),
            [{**_owner(row), "kind": kind, "term": term} for row, wanted in rows for kind, term in wanted],
        )


def _owner(row: sa.RowMapping) -> dict[str, str]:
    return {column: row[column] for column in _SECRET}


def _terms(row: sa.RowMapping, tags: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return the terms of a secret as `secrets/listing/terms.py` had them when this revision was made."""
    name, description = str(row["name"]), row["description"]
    found = {("n", name), ("p", str(row["primary_region"] or row["region"]))}
    found |= {("k", key) for key in tags} | {("v", value) for value in tags.values()}
    found |= {("w", word) for word in _words((name, description or "", *tags, *tags.values()))}
    found |= {("d", word) for word in _words((description or "",))}
    if row["owning_service"] is not None:
        found.add(("o", row["owning_service"]))
    return {(kind, term.replace("\n", "\t")[:512]) for kind, term in found}


def _words(texts: Iterable[str]) -> Iterable[str]:
    return (word.lower() for text in texts for word in _WORD.findall(text))
