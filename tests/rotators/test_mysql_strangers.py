"""What others have shaped on a server of MySQL's family: no account, name, row or setting of theirs gains a right by a rotation."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from tests.rotators.mysql_products import Product, login, renew
from turnlock.rotators import Credential, DatabaseFailed
from turnlock.rotators.engines.engine import Account, Twin
from turnlock.rotators.engines.mysql import session as mysql_session

pytestmark = [pytest.mark.slow, pytest.mark.engine]


@pytest.fixture(autouse=True)
def environment(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CA_FILE", str(product.server.ssl_ca_path))


def account(credential: Credential) -> str:
    return f"`{credential.username}`@'127.0.0.%'"


def twin_of(model: Credential) -> str:
    return f"`{model.username}_clone`@'127.0.0.%'"


def grants(product: Product, name: str) -> set[str]:
    """Return an account's rights, without its name and password."""
    rows = [str(row) for (row,) in product.server.execute(f"SHOW GRANTS FOR {name}")]
    return {row.partition(" TO `")[0].partition(" FROM `")[0] for row in rows}


def test_an_account_that_happens_to_have_a_twins_name_is_left_alone(product: Product) -> None:
    """`boss_clone` is a user of little; its secret must not give it the password of `boss`."""
    model = product.user()
    product.server.execute(
        f"CREATE USER {twin_of(model)} IDENTIFIED BY 'the boss password'",
        f"GRANT ALL PRIVILEGES ON *.* TO {twin_of(model)} WITH GRANT OPTION",
    )
    with pytest.raises(DatabaseFailed, match="is there already, AWSPREVIOUS does not log in as it"):
        renew(product, model)
    boss = replace(model, username=f"{model.username}_clone", password="the boss password")
    assert product.accepts(boss)
    assert not product.accepts(replace(boss, password="twin password"))


def test_a_twin_that_awsprevious_proves_keeps_what_it_alone_was_given(product: Product) -> None:
    model = product.user()
    renew(product, model)
    product.server.execute(f"GRANT INSERT ON shop.* TO {twin_of(model)}")
    with closing(login(product, product.admin())) as session:
        twin = Twin(
            model=Account(user=model.username, host="127.0.0.%"),
            username=f"{model.username}_clone",
            password="next password",
            group=model.username,
            acts_as_group=False,
        )
        with pytest.raises(DatabaseFailed, match="INSERT ON `shop`"):
            product.engine.renew_twin(session, twin, lambda: None)
        product.engine.renew_twin(session, replace(twin, is_proven=lambda: True), lambda: None)
    assert any("INSERT" in row for row in grants(product, twin_of(model)))
    assert product.accepts(replace(model, username=twin.username, password="next password"))


def test_nobody_may_act_as_a_twin_that_is_taken(product: Product) -> None:
    if product.name != "mysql":
        pytest.skip("MariaDB grants roles, not accounts")
    model, mallory = product.user(), product.user()
    product.server.execute(
        f"CREATE USER {twin_of(model)} IDENTIFIED BY 'x'", f"GRANT {twin_of(model)} TO {account(mallory)}"
    )
    with pytest.raises(DatabaseFailed, match="may act as it"):
        renew(product, model)


def test_no_second_password_of_a_stranger_survives_on_a_twin(product: Product) -> None:
    if product.name != "mysql":
        pytest.skip("MariaDB's ALTER USER replaces all ways to authenticate")
    model = product.user()
    product.server.execute(
        f"CREATE USER {twin_of(model)} IDENTIFIED BY 'planted'",
        f"ALTER USER {twin_of(model)} IDENTIFIED BY 'another' RETAIN CURRENT PASSWORD",
    )
    twin = renew(product, model)
    assert product.accepts(twin)
    assert not product.accepts(replace(twin, password="planted"))
    assert not product.accepts(replace(twin, password="another"))


def test_no_planted_way_in_survives_on_a_twin(product: Product) -> None:
    if product.name != "mariadb":
        pytest.skip("MySQL's accounts have one way to authenticate for each factor")
    model = product.user()
    native = "mysql_native_password USING PASSWORD('{}')"
    product.server.execute(
        f"CREATE USER {twin_of(model)} IDENTIFIED VIA {native.format('a')} OR {native.format('planted')} OR unix_socket"
    )
    twin = renew(product, model)
    assert product.accepts(twin)
    assert not product.accepts(replace(twin, password="planted"))
    ((shown,),) = product.server.execute(f"SHOW CREATE USER {twin_of(model)}")
    assert "unix_socket" not in shown


def test_a_partial_revoke_never_lapses_on_a_twin_whose_old_password_is_valid(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`GRANT SELECT ON *.*` undoes the twin's partial revokes: it is locked until they are there again."""
    if product.name != "mysql":
        pytest.skip("partial revokes are MySQL's")
    model = product.user()
    product.server.execute(
        "SET GLOBAL partial_revokes = ON",
        f"GRANT SELECT ON *.* TO {account(model)}",
        f"REVOKE SELECT ON mysql.* FROM {account(model)}",
    )
    sent: list[str] = []
    real = mysql_session.run

    def listening(connection: mysql_session.Connection, statement: str, *values: object) -> object:
        sent.append(statement)
        return real(connection, statement, *values)

    try:
        renew(product, model)
        assert "REVOKE SELECT ON `mysql`.*" in grants(product, twin_of(model))
        monkeypatch.setattr("turnlock.rotators.engines.mysql.twins.run", listening)
        renew(product, model)
        assert not [one for one in sent if one.startswith(("GRANT", "REVOKE"))]
        product.server.execute(
            f"GRANT INSERT ON *.* TO {account(model)}", f"REVOKE INSERT ON mysql.* FROM {account(model)}"
        )
        sent.clear()
        renew(product, model)
        changes = [one.split()[0] for one in sent if one.startswith(("GRANT", "REVOKE", "ALTER"))]
        assert changes == ["ALTER", "GRANT", "REVOKE"]
        assert grants(product, twin_of(model)) == grants(product, account(model))
    finally:
        product.server.execute(
            f"DROP USER {account(model)}, {twin_of(model)}", "SET GLOBAL partial_revokes = OFF"
        )


HOSTILE = "x` TO 'root'@'%' -- \\' \" %s {} ;"


def test_names_that_look_like_statements_are_carried_as_names(product: Product) -> None:
    model = product.user()
    name = "`{}`".format(HOSTILE.replace("`", "``"))
    product.server.execute(
        f"CREATE DATABASE IF NOT EXISTS {name}",
        f"CREATE TABLE IF NOT EXISTS {name}.{name} (id INT, {name} INT)",
        f"CREATE PROCEDURE {name}.{name}() SELECT 1",
        f"GRANT SELECT ON {name}.* TO {account(model)} WITH GRANT OPTION",
        f"GRANT INSERT ({name}), UPDATE (id) ON {name}.{name} TO {account(model)}",
        f"GRANT EXECUTE ON PROCEDURE {name}.{name} TO {account(model)}",
    )
    try:
        renew(product, model)
        assert grants(product, twin_of(model)) >= {
            row for row in grants(product, account(model)) if "USAGE" not in row
        }
    finally:
        product.server.execute(f"DROP DATABASE {name}")


def test_a_grant_on_what_was_dropped_does_not_stop_a_rotation(product: Product) -> None:
    model = product.user()
    product.server.execute(
        "CREATE TABLE IF NOT EXISTS shop.gone (id INT, kept INT, lost INT)",
        f"GRANT INSERT, SELECT (lost) ON shop.gone TO {account(model)}",
        "DROP TABLE shop.gone",
        f"GRANT DELETE ON shop.* TO {account(model)}",
    )
    renew(product, model)
    assert any("DELETE" in row for row in grants(product, twin_of(model)))


def test_functions_named_as_the_servers_own_are_not_called(product: Product) -> None:
    model = product.user()
    names = (
        "now",
        "current_user",
        "user",
        "get_lock",
        "release_lock",
        "version",
        "password",
        "left",
        "char_length",
    )
    product.server.execute(
        "CREATE TABLE IF NOT EXISTS shop.called (name TEXT)",
        *(
            f"CREATE FUNCTION shop.`{name}`(a TEXT) RETURNS TEXT DETERMINISTIC SQL SECURITY INVOKER"
            f" BEGIN INSERT INTO shop.called VALUES ('{name}'); RETURN 'x'; END"
            for name in names
        ),
    )
    try:
        renew(product, model)
        assert product.server.execute("SELECT * FROM shop.called") == []
    finally:
        product.server.execute("DROP TABLE shop.called", *(f"DROP FUNCTION shop.`{name}`" for name in names))


def test_settings_of_the_server_do_not_change_what_a_rotation_says(product: Product) -> None:
    model = product.user()
    modes = "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,IGNORE_SPACE"
    charset = "gbk" if product.name == "mysql" else "sjis"
    product.server.execute(
        f"SET GLOBAL init_connect = 'SET sql_mode = ''{modes}'', NAMES {charset}'",
        f"SET GLOBAL sql_mode = '{modes}'",
    )
    try:
        twin = renew(product, model, 'new\'s \\ "one"')
        with closing(login(product, twin)) as session:
            product.engine.set_password(session, twin.username, "a\\'b\u00bf\u5c27", lambda: None)
    finally:
        product.server.execute("SET GLOBAL sql_mode = DEFAULT", "SET GLOBAL init_connect = ''")
    login(product, replace(twin, password="a\\'b\u00bf\u5c27")).close()
