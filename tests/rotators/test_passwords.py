"""Which passwords are asked for."""

from __future__ import annotations

import shlex
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from turnlock.rotators.passwords import DEFAULT_EXCLUDED, SAFE_PUNCTUATION, PasswordRules

ALLOWED = sorted(set(string.ascii_letters + string.digits + string.punctuation) - set(DEFAULT_EXCLUDED))


def test_the_default_leaves_letters_digits_and_the_safe_punctuation() -> None:
    assert set(ALLOWED) == set(string.ascii_letters + string.digits + SAFE_PUNCTUATION)


@given(st.text(alphabet=ALLOWED, min_size=32, max_size=32))
def test_a_default_password_means_itself_everywhere(password: str) -> None:
    assert quote(password, safe="") == password
    assert shlex.quote(password) == password
    assert make_conninfo("", password=password) == f"password={password}"


def test_the_default_asks_for_32_characters_one_of_each_type() -> None:
    request = PasswordRules.from_environment({}).request()
    assert request == {
        "PasswordLength": 32,
        "ExcludeCharacters": DEFAULT_EXCLUDED,
        "ExcludeNumbers": False,
        "ExcludePunctuation": False,
        "ExcludeUppercase": False,
        "ExcludeLowercase": False,
        "RequireEachIncludedType": True,
    }


def test_each_variable_of_awss_functions_counts() -> None:
    rules = PasswordRules.from_environment(
        {
            "PASSWORD_LENGTH": "20",
            "EXCLUDE_CHARACTERS": ":/",
            "EXCLUDE_NUMBERS": "True",
            "EXCLUDE_PUNCTUATION": "true",
            "EXCLUDE_UPPERCASE": "TRUE",
            "EXCLUDE_LOWERCASE": "false",
            "REQUIRE_EACH_INCLUDED_TYPE": "false",
        }
    )
    assert rules == PasswordRules(
        length=20,
        excluded=":/",
        no_numbers=True,
        no_punctuation=True,
        no_uppercase=True,
        no_lowercase=False,
        one_of_each=False,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PASSWORD_LENGTH", "7"),
        ("PASSWORD_LENGTH", "³²"),
        ("PASSWORD_LENGTH", "-9"),
        ("EXCLUDE_NUMBERS", "yes"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        PasswordRules.from_environment({name: value})
