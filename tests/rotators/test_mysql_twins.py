"""What becomes of a row of SHOW GRANTS for another account."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.rotators.engine import Account
from turnlock.rotators.mysql_family import quoted_account
from turnlock.rotators.mysql_twins import retargeted

MODEL = Account(user="app", host="10.%")
TWIN = Account(user="app_clone", host="10.%")
NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("row", "statement"),
    [
        ("GRANT USAGE ON *.* TO `app`@`10.%`", "GRANT USAGE ON *.* TO `app_clone`@`10.%`"),
        (
            "GRANT SELECT ON `shop`.* TO `app`@`10.%` WITH GRANT OPTION",
            "GRANT SELECT ON `shop`.* TO `app_clone`@`10.%` WITH GRANT OPTION",
        ),
        (
            "GRANT USAGE ON *.* TO `app`@`10.%` IDENTIFIED BY PASSWORD '*AB' REQUIRE SUBJECT 'WITH GRANT OPTION' WITH MAX_USER_CONNECTIONS 3",
            "GRANT USAGE ON *.* TO `app_clone`@`10.%`",
        ),
        (
            "GRANT ALL PRIVILEGES ON *.* TO `app`@`10.%` IDENTIFIED BY PASSWORD '*AB' WITH GRANT OPTION MAX_USER_CONNECTIONS 3",
            "GRANT ALL PRIVILEGES ON *.* TO `app_clone`@`10.%` WITH GRANT OPTION",
        ),
        ("GRANT `r`@`%` TO `app`@`10.%` WITH ADMIN OPTION", "GRANT `r`@`%` TO `app_clone`@`10.%` WITH ADMIN OPTION"),
        ("REVOKE INSERT ON `shop`.* FROM `app`@`10.%`", "REVOKE INSERT ON `shop`.* FROM `app_clone`@`10.%`"),
        ("SET DEFAULT ROLE `r` FOR `app`@`10.%`", "SET DEFAULT ROLE `r` FOR `app_clone`@`10.%`"),
        ("GRANT PROXY ON ''@'%' TO 'app'@'10.%'", "GRANT PROXY ON ''@'%' TO `app_clone`@`10.%`"),
        ("GRANT SELECT ON `a TO ``app``@``10.%``` TO `app`@`10.%`", "GRANT SELECT ON `a TO ``app``@``10.%``` TO `app_clone`@`10.%`"),
    ],
)  # fmt: skip
def test_a_row_about_the_model_becomes_a_statement_for_the_twin(row: str, statement: str) -> None:
    assert list(retargeted(row, MODEL, TWIN)) == [statement]


@pytest.mark.parametrize("row", ["GRANT USAGE ON *.* TO `r`", "GRANT SELECT ON `shop`.* TO PUBLIC", ""])
def test_a_row_about_others_becomes_nothing(row: str) -> None:
    assert list(retargeted(row, MODEL, TWIN)) == []


@given(user=NAMES, host=NAMES, table=NAMES)
def test_no_name_changes_what_is_granted(user: str, host: str, table: str) -> None:
    model, twin = Account(user=user, host=host), Account(user="twin", host=host)
    on = "GRANT SELECT ON `shop`.`{}`".format(table.replace("`", "``"))
    (statement,) = retargeted(f"{on} TO {quoted_account(model)} WITH GRANT OPTION", model, twin)
    assert statement == f"{on} TO {quoted_account(twin)} WITH GRANT OPTION"
