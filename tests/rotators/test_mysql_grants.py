"""What SHOW GRANTS says is read into values and quoted anew; nothing of a row is sent back as it came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.rotators.engines.mysql.grants import (
    Grants,
    Right,
    UnreadableGrant,
    excess,
    granting,
    identifier,
    missing,
    quoted,
    read,
    read_all,
    withholding,
    words_of,
)

MODEL, TWIN = ("app", "10.%"), ("app_clone", "10.%")
NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=12)


def statements(*rows: str, hands_on: bool = False) -> list[str]:
    grants = read(rows, MODEL, hands_on=hands_on)
    return [text for text, _ in granting(grants.rights, TWIN)] + list(withholding(grants.withheld, TWIN))


@pytest.mark.parametrize(
    ("row", "statement"),
    [
        ("GRANT SELECT ON `shop`.* TO `app`@`10.%`", "GRANT SELECT ON `shop`.* TO `app_clone`@`10.%`"),
        ("GRANT SELECT ON `s\\_p`.* TO `app`@`10.%` WITH GRANT OPTION", "GRANT SELECT ON `s\\_p`.* TO `app_clone`@`10.%` WITH GRANT OPTION"),
        ("GRANT SELECT, BINLOG ADMIN ON *.* TO `app`@`10.%` IDENTIFIED BY PASSWORD '*AB' REQUIRE SUBJECT '' WITH GRANT OPTION'", "GRANT BINLOG ADMIN, SELECT ON *.* TO `app_clone`@`10.%`"),
        ("GRANT SELECT (`a), SELECT (b`, `id`), INSERT (`c``d`) ON `shop`.`t` TO `app`@`10.%`", "GRANT INSERT (`c``d`), SELECT (`a), SELECT (b`, `id`) ON `shop`.`t` TO `app_clone`@`10.%`"),
        ("GRANT EXECUTE ON PROCEDURE `shop`.`p``q` TO `app`@`10.%`", "GRANT EXECUTE ON PROCEDURE `shop`.`p``q` TO `app_clone`@`10.%`"),
        ("GRANT SELECT ON `a TO ``app``@``10.%``` .* TO `app`@`10.%`", "GRANT SELECT ON `a TO ``app``@``10.%```.* TO `app_clone`@`10.%`"),
        ("GRANT SELECT ON `a TO 'app'@'10.%'`.* TO 'app'@'10.%'", "GRANT SELECT ON `a TO 'app'@'10.%'`.* TO `app_clone`@`10.%`"),
        ("REVOKE INSERT ON `a FROM 'app'@'10.%'`.* FROM `app`@`10.%`", "REVOKE INSERT ON `a FROM 'app'@'10.%'`.* FROM `app_clone`@`10.%`"),
    ],
)  # fmt: skip
def test_a_row_about_the_model_becomes_a_statement_for_the_twin(row: str, statement: str) -> None:
    assert statements(row) == [statement]


def test_the_right_to_hand_on_everything_is_not_read_from_a_row_with_texts_that_the_server_does_not_escape() -> (
    None
):
    row = "GRANT SELECT ON *.* TO `app`@`10.%` REQUIRE SUBJECT 'x' WITH GRANT OPTION' WITH MAX_USER_CONNECTIONS 3"
    assert statements(row) == ["GRANT SELECT ON *.* TO `app_clone`@`10.%`"]
    assert statements(row, hands_on=True) == ["GRANT SELECT ON *.* TO `app_clone`@`10.%` WITH GRANT OPTION"]


def test_roles_and_a_default_role_are_names_and_not_text() -> None:
    rows = [
        "GRANT `r``1`@`%`,`r2`@`%` TO `app`@`10.%` WITH ADMIN OPTION",
        "GRANT `r3` TO `app`@`10.%`",
        "SET DEFAULT ROLE `r3` FOR `app`@`10.%`",
    ]
    grants = read(rows, MODEL, hands_on=False)
    assert grants.roles == {(("r`1", "%"), True), (("r2", "%"), True), (("r3",), False)}
    assert grants.default_role == ("r3",)
    assert quoted(("r`1", "%")) == "`r``1`@`%`"


def test_rows_about_others_and_proxies_add_nothing() -> None:
    rows = [
        "GRANT USAGE ON *.* TO `app`@`10.%`",
        "GRANT SELECT ON `shop`.* TO PUBLIC".replace("PUBLIC", "`PUBLIC`"),
        "GRANT INSERT ON `shop`.* TO `app`@`%`",
        "GRANT PROXY ON 'o'b`r'@'%' TO 'app'@'10.%'",
    ]
    assert read(rows, MODEL, hands_on=False) == Grants()
    assert {right.privilege for right in read_all(rows)} == {"SELECT", "INSERT"}


@pytest.mark.parametrize(
    "row",
    [
        "",
        "GRANT",
        "DROP USER `app`@`10.%`",
        "GRANT SELECT ON `shop`.* TO `nobody`@`%`",
        "GRANT SELECT (id) ON `shop`.`t` TO `app`@`10.%`",
        "GRANT SELECT ON shop.* TO `app`@`10.%`",
        "GRANT SELECT ON *.`t` TO `app`@`10.%`",
        "GRANT SELECT ON SCHEMA `shop`.`t` TO `app`@`10.%`",
        "GRANT  ON `shop`.`t` TO `app`@`10.%`",
        "GRANT SELECT ON `shop`.`t` TO `app`@`10.%",
        "GRANT SELECT; DROP ON `shop`.`t` TO `app`@`10.%`",
        "GRANT SELECT ON `shop`.`t` AT `app`@`10.%`",
    ],
)
def test_a_row_that_does_not_fit_is_an_error(row: str) -> None:
    with pytest.raises(UnreadableGrant):
        read([row], MODEL, hands_on=False)


@given(st.tuples(*[NAMES] * 6))
def test_no_name_changes_what_is_granted(names: tuple[str, ...]) -> None:
    user, host, database, table, column, other = names
    of = [identifier(name) for name in (database, table, column)]
    row = f"GRANT SELECT ({of[2]}), INSERT ON {of[0]}.{of[1]} TO {quoted((user, host))} WITH GRANT OPTION"
    grants = read([row], (user, host), hands_on=False)
    place = (database, table)
    assert grants.rights == {
        Right(privilege="SELECT", place=place, column=column, option=True),
        Right(privilege="INSERT", place=place, option=True),
    }
    ((statement, _),) = granting(grants.rights, (other, host))
    assert read([statement], (other, host), hands_on=False) == grants


@given(st.text(max_size=60))
def test_no_text_is_read_for_ever_or_ends_in_another_error(text: str) -> None:
    try:
        read([f"GRANT {text}"], MODEL, hands_on=False)
        words_of(text)
    except UnreadableGrant:
        pass


def right(privilege: str, *place: str, option: bool = False) -> Right:
    return Right(privilege=privilege, place=place, option=option)


def test_what_a_twin_lacks_is_judged_on_the_very_place() -> None:
    held = {right("ALL PRIVILEGES", "shop"), right("SELECT", "shop", "t", option=True)}
    model = {right("SELECT", "shop"), right("SELECT", "shop", "t"), right("INSERT", "shop", "t")}
    assert missing(model, held) == {right("INSERT", "shop", "t")}
    assert missing({right("SELECT", "shop", option=True)}, held) == {right("SELECT", "shop", option=True)}


def test_what_a_twin_has_too_much_is_judged_on_wider_places_too() -> None:
    model = Grants(rights={right("SELECT"), right("ALL PRIVILEGES", "shop")}, roles={(("r", "%"), False)})
    same = Grants(rights={right("SELECT", "a", "b"), right("DROP", "shop", "t")}, roles={(("r", "%"), False)})
    assert excess(model, same) == []
    more = Grants(
        rights={right("SELECT", "a", option=True), right("DROP", "other")},
        roles={(("r", "%"), True)},
        proxied={(("root", "%"), False)},
    )
    assert excess(model, more) == [
        "DROP ON `other`.*",
        "SELECT ON `a`.* WITH GRANT OPTION",
        "the role `r`@`%` with its option",
        "PROXY ON `root`@`%`",
    ]


def test_a_partial_revoke_that_is_missing_is_too_much() -> None:
    model = Grants(rights={right("SELECT")}, withheld={right("SELECT", "mysql")})
    assert excess(model, Grants(rights={right("SELECT")})) == ["SELECT ON `mysql`.*"]
    assert excess(model, Grants(rights={right("SELECT", "mysql", "user")})) == ["SELECT ON `mysql`.`user`"]
    assert excess(model, Grants(rights={right("SELECT")}, withheld=set(model.withheld))) == []


def test_the_words_of_a_statement_leave_out_its_texts() -> None:
    text = "CREATE USER `FAILED_LOGIN_ATTEMPTS`@`%` AS <secret> FAILED_LOGIN_ATTEMPTS 2 COMMENT 'FAILED_LOGIN_ATTEMPTS 0'"
    assert words_of(text)[-4:] == ["secret", "FAILED_LOGIN_ATTEMPTS", "2", "COMMENT"]
