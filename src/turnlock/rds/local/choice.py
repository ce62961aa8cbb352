"""Which class runs a DB instance's server, by its engine."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from turnlock.rds.local.mariadb import make_mariadb
from turnlock.rds.local.postgresql import make_postgresql
from turnlock.rds.local.server import MakeServer

SERVERS: Final[Mapping[str, MakeServer]] = MappingProxyType(
    {"aurora-postgresql": make_postgresql, "mariadb": make_mariadb, "postgres": make_postgresql}
)
"""By engine; the keys are those of `programs.PROGRAMS`."""
