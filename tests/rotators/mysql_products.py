"""Real servers of MySQL's family that write every statement down, users on them, and their twins."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count

import pymysql

from turnlock.local_servers import EmbeddedMariaDB
from turnlock.local_servers.mysql import EmbeddedMySQL
from turnlock.local_servers.mysqld import MySQLServer
from turnlock.rotators import Credential
from turnlock.rotators.engines.engine import Twin
from turnlock.rotators.engines.mysql.engine import MySQL
from turnlock.rotators.engines.mysql.mariadb import MariaDB
from turnlock.rotators.engines.mysql.session import Connection

_NUMBERS = count(1)
LOGGING = {"general-log": "ON", "general-log-file": "statements.log", "log-bin": "changes", "server-id": "1"}
PRODUCTS: dict[str, tuple[type[MySQLServer], MySQL | MariaDB]] = {
    "mysql": (EmbeddedMySQL, MySQL()),
    "mariadb": (EmbeddedMariaDB, MariaDB()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A server that offers TLS and writes every statement down, and its engine."""

    name: str
    server: MySQLServer
    engine: MySQL | MariaDB

    def user(self, password: str = "old password", more: str = "") -> Credential:
        """Make a user that may come from 127.0.0.% and may read `shop`."""
        name = f"o'brien {next(_NUMBERS)}"
        account = f"'{name.replace(chr(39), chr(39) * 2)}'@'127.0.0.%'"
        self.server.execute(
            "CREATE DATABASE IF NOT EXISTS shop",
            f"CREATE USER {account} IDENTIFIED BY '{password}' {more}",
            f"GRANT SELECT ON shop.* TO {account}",
        )
        return Credential(
            host="127.0.0.1", port=self.server.port, username=name, password=password, dbname="shop", tls=True
        )

    def admin(self) -> Credential:
        return Credential(
            host="127.0.0.1",
            port=self.server.port,
            username=self.server.user,
            password=self.server.password,
            dbname="",
            tls=True,
        )

    def accepts(self, credential: Credential) -> bool:
        """Tell, by another way than the engine's, whether the server lets it in."""
        try:
            self.server.connect(credential.username, credential.password).close()
        except pymysql.err.OperationalError as error:
            if error.args[0] not in {1045, 3118, 4151}:
                raise
            return False
        return True

    def written(self) -> bytes:
        """Return all that the server keeps of statements: its general log and its binary logs."""
        data = self.server.log_path.parent / "data"
        return b"".join(path.read_bytes() for path in (data / "statements.log", *data.glob("changes.0*")))


def login(product: Product, credential: Credential) -> Connection:
    return product.engine.connect(credential, 5)


def renew(product: Product, model: Credential, password: str = "twin password") -> Credential:
    with closing(login(product, model)) as session:
        account = product.engine.account(session)
    twin = Twin(
        model=account,
        username=f"{model.username}_clone",
        password=password,
        group=model.username,
        acts_as_group=False,
    )
    with closing(login(product, product.admin())) as session:
        product.engine.renew_twin(session, twin, lambda: None)
    return replace(model, username=twin.username, password=password)
