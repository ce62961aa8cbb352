"""Event triggers: the one kind of other people's code that a login or a grant runs, and that its session cannot turn off.

Only a superuser makes an event trigger, but its function may belong to anybody, who can put other code into it. A trigger whose
function belongs to a superuser, or to the master itself, is the administrators' own. Statements on roles fire none.
"""

from __future__ import annotations

from typing import LiteralString

from turnlock.rotators.engines.engine import DatabaseFailed
from turnlock.rotators.engines.postgresql.login import Connection

_TRIGGERS: LiteralString = """
SELECT e.evtname::pg_catalog.text, r.rolname::pg_catalog.text
FROM pg_catalog.pg_event_trigger e
JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) e.evtfoid
JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) p.proowner
WHERE e.evtenabled OPERATOR(pg_catalog.<>) 'D' AND NOT r.rolsuper
  AND e.evtevent OPERATOR(pg_catalog.<>) 'sql_drop' AND e.evtevent OPERATOR(pg_catalog.<>) 'table_rewrite'
  AND (e.evttags IS NULL OR e.evttags OPERATOR(pg_catalog.&&)
       ARRAY['ALTER DEFAULT PRIVILEGES', 'GRANT', 'REASSIGN OWNED', 'REVOKE']::pg_catalog.text[])
ORDER BY e.evtname
"""


def strangers(connection: Connection) -> dict[str, str]:
    """Return the event triggers that a login or a grant fires, to the owners of their functions; in `fixed`."""
    return {f"event trigger {name}": owner for name, owner in connection.execute(_TRIGGERS).fetchall()}


def require_none(connection: Connection, *, master: str) -> None:
    """DatabaseFailed where the database runs a function of others; inside a transaction of `fixed`."""
    for trigger, owner in strangers(connection).items():
        if owner != master:
            raise DatabaseFailed(
                f"The {trigger} would run a function of {owner} with the master user's rights:"
                " let a superuser own the function, or drop the trigger."
            )
