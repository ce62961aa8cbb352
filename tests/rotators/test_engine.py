"""What a secret says, and what a message may show of it."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turnlock.rotators import Credential
from turnlock.rotators.engines.engine import credential_of, redacted
from turnlock.rotators.engines.postgresql.engine import PostgreSQL

SECRET = {"engine": "postgres", "host": "db.example.com", "username": "app", "password": "pass-word"}


def credential(**changes: object) -> Credential:
    return credential_of(SECRET | changes, PostgreSQL())


def test_absent_members_have_the_engines_defaults() -> None:
    assert credential() == Credential(
        host="db.example.com", port=5432, username="app", password="pass-word", dbname="postgres", tls=True
    )


@pytest.mark.parametrize(
    ("ssl", "tls"),
    [
        (True, True),
        (False, False),
        ("true", True),
        ("False", False),
        ("FALSE", False),
        ("no", True),
        (None, True),
    ],
)
def test_only_a_clear_false_means_no_tls(ssl: object, tls: bool) -> None:
    assert credential(ssl=ssl).tls is tls


@pytest.mark.parametrize("port", [6000, "6000"])
def test_a_port_may_be_a_number_or_a_text(port: object) -> None:
    assert credential(port=port, dbname="theirs", engine="aurora-postgresql").port == 6000


@pytest.mark.parametrize("key", ["engine", "host", "username", "password"])
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(KeyError, match=key):
        credential_of({name: value for name, value in SECRET.items() if name != key}, PostgreSQL())


def test_another_engine_is_refused() -> None:
    with pytest.raises(KeyError, match="aurora-postgresql, postgres"):
        credential(engine="mysql")


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "/var/run/postgresql"},
        {"host": "@abstract"},
        {"host": "one.example.com,two.example.com"},
        {"host": "db.example.com user=postgres"},
        {"host": ""},
        {"host": 7},
        {"port": "five"},
        {"port": 65536},
        {"port": True},
        {"username": ["app"]},
        {"username": "a\0b"},
        {"password": None},
        {"dbname": 7},
    ],
    ids=str,
)
def test_unusable_members_are_refused_without_being_shown(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"the secret's {next(iter(changes))}") as caught:
        credential(**changes)
    (shown,) = (json.dumps(value, default=str).strip('"') for value in changes.values())
    assert not shown or shown not in str(caught.value)


def test_a_credential_does_not_show_its_password() -> None:
    assert "pass-word" not in repr(credential())


def naive_redaction_holds(text: str, values: dict[str, str]) -> bool:
    """Tell whether no value stands in the text as a word, placeholders aside."""
    bare = re.sub("<(username|host|dbname|password)>", "\n", text)
    return all(re.search(rf"(?<!\w){re.escape(value)}(?!\w)", bare) is None for value in values.values())


words = st.text(alphabet="abc.-_1", min_size=1, max_size=6)


@given(st.lists(words, max_size=8), words, words, words)
@example(around=["_."], username=".", password="1", host="_")
def test_no_value_is_left_in_a_message(around: list[str], username: str, password: str, host: str) -> None:
    values = {"username": username, "host": host, "password": password}
    text = " ".join([*around, f'FATAL: login of "{username}" at {host}, with {password}', *around])
    assert naive_redaction_holds(redacted(text, values), values)


def test_redaction_keeps_what_the_database_meant() -> None:
    text = 'connection to "db.example.com" failed:\n\tFATAL:  password authentication failed for user "app"'
    told = redacted(text, credential().values)
    assert (
        told == 'connection to "<host>" failed: FATAL: password authentication failed for user "<username>"'
    )


def test_a_password_is_hidden_inside_words_too() -> None:
    assert redacted("xxpass-wordxx", credential().values) == "xx<password>xx"
    assert redacted("is a  b here", {"password": "a  b"}) == "is <password> here"
