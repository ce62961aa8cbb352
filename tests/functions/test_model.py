from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turnlock.core.credentials import TemporaryCredentials
from turnlock.functions import HOSTED, FunctionArn, Invocation, find_hosted, redact
from turnlock.functions.model import REDACTED, longest_spelling, spellings

NAME = "SecretsManagerRDSPostgreSQLRotationSingleUser"
ARN = f"arn:aws:lambda:eu-central-1:123456789012:function:{NAME}"
PASSWORD = "p\"a\\ss'w/or d+é\n%"


@pytest.mark.parametrize(
    ("text", "qualifier"), [(ARN, None), (f"{ARN}:live", "live"), (f"{ARN}:$LATEST", "$LATEST")]
)
def test_a_function_arn_is_read_and_written_back(text: str, qualifier: str | None) -> None:
    parsed = FunctionArn.parse(text)
    assert (parsed.partition, parsed.region, parsed.account_id) == ("aws", "eu-central-1", "123456789012")
    assert (parsed.name, parsed.qualifier) == (NAME, qualifier)
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        NAME,
        "arn:aws:lambda:eu-central-1:123456789012:layer:x",
        "arn:aws:lambda:eu-central-1:123456789012:function:",
        "arn:aws:lambda:eu-central-1:123456789012:function:a b",
        "arn:aws:lambda::123456789012:function:x",
        "arn:aws:lambda:eu-central-1::function:x",
        "arn:aws:iam:eu-central-1:123456789012:function:x",
        f"{ARN}:live:twice",
        f"{ARN}\n",
        f"{ARN}{'x' * 64}",
    ],
)
def test_what_is_no_function_arn_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        FunctionArn.parse(text)
    assert find_hosted(text) is None


def test_the_postgresql_function_is_hosted_with_its_defaults() -> None:
    function = find_hosted(ARN)
    assert function is HOSTED[NAME]
    assert function is not None
    assert function.handler == "turnlock.rotators.postgresql_single_user.lambda_handler"
    assert (function.timeout_seconds, function.memory_bytes, function.supports_probe) == (
        30.0,
        512 * 1024**2,
        True,
    )


def test_only_the_latest_version_of_a_hosted_function_exists() -> None:
    assert find_hosted(f"{ARN}:$LATEST") is HOSTED[NAME]
    assert find_hosted(f"{ARN}:7") is None
    assert find_hosted(ARN.replace(NAME, "MyOwnFunction")) is None


def test_credentials_need_an_aware_utc_expiry() -> None:
    for moment in (datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))):  # noqa: DTZ001
        with pytest.raises(ValueError, match="UTC"):
            TemporaryCredentials(
                access_key_id="A", secret_access_key="s", session_token="t", expires_at=moment
            )


def test_credentials_are_good_while_more_than_the_span_is_left() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    held = TemporaryCredentials(
        access_key_id="A", secret_access_key="s", session_token="t", expires_at=now + timedelta(seconds=61)
    )
    assert held.good_for(timedelta(seconds=60), now=now)
    assert not held.good_for(timedelta(seconds=61), now=now)


def test_no_repr_shows_a_secret() -> None:
    held = TemporaryCredentials(
        access_key_id="ASIA",
        secret_access_key="hunter2",
        session_token="hunter3",
        expires_at=datetime.now(UTC),
    )
    asked = Invocation(
        function_arn=ARN,
        payload={"RotationToken": "hunter4"},
        secret_arn="s",
        credentials=lambda: held,
        redact=lambda: frozenset(["hunter5"]),
        environment={"KEY": "hunter6"},
    )
    assert "hunter" not in repr(held) + repr(asked)


@pytest.mark.parametrize(
    "written",
    [
        PASSWORD,
        json.dumps({"password": PASSWORD}),
        json.dumps({"password": PASSWORD}, ensure_ascii=False),
        json.dumps({"SecretString": json.dumps({"password": PASSWORD})}),
        f"postgresql://u:{quote(PASSWORD, safe='')}@h/db",
        f"password={quote_plus(PASSWORD)}",
        quote(PASSWORD, safe="")
        .replace("%5C", "%5c")
        .replace("%2F", "%2f")
        .replace("%2B", "%2b")
        .replace("%C3%A9", "%c3%a9")
        .replace("%0A", "%0a"),
        repr(PASSWORD),
        repr({"password": PASSWORD}),
        repr(f'"{PASSWORD}'),
        ascii(PASSWORD),
    ],
)
def test_a_value_is_found_however_it_is_written(written: str) -> None:
    cleaned = redact(f"before {written} after", [PASSWORD])
    assert REDACTED in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    for rest in ("ss", "wor", "or"):
        assert rest not in cleaned.replace("before", "").replace("password", "").replace("postgresql", "")


def test_the_longest_value_wins_and_overlaps_leave_nothing_behind() -> None:
    assert redact("secret-and-more", ["secret", "secret-and-more"]) == REDACTED
    assert redact("abcd", ["abc", "bcd"]) == REDACTED
    assert redact("aaaaa", ["aa"]) == REDACTED


def test_text_without_values_stays_as_it_is() -> None:
    assert redact("nothing here", ["hunter2", ""]) == "nothing here"
    assert redact("", ["hunter2"]) == ""
    assert redact("text", []) == "text"


def test_a_value_that_begins_before_the_start_leaves_no_rest() -> None:
    assert redact("xxhunter2yy", ["hunter2"], start=5) == f"{REDACTED}yy"
    assert redact("hunter2yy", ["hunter2"], start=7) == "yy"
    assert redact("xxhunter2yy", ["hunter2"], start=1) == f"x{REDACTED}yy"


def naive_redact(text: str, values: list[str], start: int) -> str:
    """Mark each character that belongs to a value, then write each run of marks once."""
    marked = [False] * len(text)
    for value in values:
        for form in spellings(value):
            for at in range(len(text) - len(form) + 1):
                if text.startswith(form, at):
                    marked[at : at + len(form)] = [True] * len(form)
    out = ""
    for at in range(start, len(text)):
        if not marked[at]:
            out += text[at]
        elif at == start or not marked[at - 1]:
            out += REDACTED
    return out


letters = st.text(alphabet="ab\"'\\/é \n", max_size=30)


@given(letters, st.lists(st.text(alphabet="ab\"'\\/é \n", max_size=4), max_size=3), st.integers(0, 30))
@example("\ud800a", ["\ud800"], 0)
@example("aab", ["a", "ab"], 1)
def test_redaction_agrees_with_marking_every_character(text: str, values: list[str], start: int) -> None:
    assert redact(text, values, start=min(start, len(text))) == naive_redact(
        text, values, min(start, len(text))
    )


@given(st.lists(st.text(max_size=20), max_size=3))
def test_no_spelling_is_longer_than_the_longest(values: list[str]) -> None:
    longest = longest_spelling(values)
    assert all(len(form) <= longest for value in values for form in spellings(value))
