"""Pages of lists: positions by key, by number and under a MAC."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from turnlock.core.action import Answer, Request
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call, Principal, PrincipalKind
from turnlock.core.pages import Pages, Question, Section
from turnlock.errors import InvalidMarkerException, InvalidNextTokenException, InvalidParameterValue

PAGES = Pages(
    size="Limit",
    following="NextMarker",
    truncated="Truncated",
    default=100,
    most=3,
    digits=4,
    invalid=InvalidMarkerException,
)
KEYS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4), unique=True, max_size=12
)


class Keyring:
    """A root keyring that can only make MACs."""

    def wrap(self, plaintext: bytes, *, context: bytes) -> bytes:
        raise NotImplementedError

    def unwrap(self, sealed: bytes, *, context: bytes) -> bytes:
        raise NotImplementedError

    def mac(self, purpose: str, message: bytes) -> bytes:
        return hashlib.sha256(purpose.encode() + message).digest()

    def settle(self, fits: Callable[[], bool]) -> bool:
        raise NotImplementedError


CALL = Call(
    principal=Principal(kind=PrincipalKind.ROOT, arn="", account_id=AccountId("1" * 12), principal_id=""),
    account_id=AccountId("1" * 12),
    region=Region("eu-central-1"),
    service="secretsmanager",
    action="ListSecrets",
    request_id="",
    source_ip="",
    user_agent="",
    at=datetime(2026, 11, 28, tzinfo=UTC),
)


def walked(read: Callable[[Request], Answer]) -> tuple[list[str], list[int]]:
    """Return all entries of a list read by pages, and the sizes of the pages."""
    found: list[str] = []
    sizes = []
    request: dict[str, object] = {"Limit": 2}
    while True:
        answer = read(request)
        found += answer["Names"]
        sizes.append(len(answer["Names"]))
        assert answer["Truncated"] is (answer["NextMarker"] is not None)
        if answer["NextMarker"] is None:
            return found, sizes
        request["Marker"] = answer["NextMarker"]


@given(KEYS)
def test_pages_by_key_hold_each_entry_once_in_order(keys: list[str]) -> None:
    found, sizes = walked(lambda request: PAGES.page(request, keys, str, "Names", str))
    assert found == sorted(keys)
    assert all(size == 2 for size in sizes[:-1])


@given(KEYS)
def test_a_query_that_returns_one_entry_more_than_the_page_makes_the_same_pages(keys: list[str]) -> None:
    def queried(request: Request) -> Answer:
        after, size = PAGES.after(request), PAGES.size_of(request)
        left = [one for one in sorted(keys) if after is None or one > after]
        return PAGES.cut(left[: size + 1], size, str, "Names", str)

    assert walked(queried) == walked(lambda request: PAGES.page(request, keys, str, "Names", str))


@given(st.lists(KEYS, max_size=3), KEYS)
def test_pages_of_sections_hold_what_is_kept_of_each_section_after_the_other(
    lists: list[list[str]], others: list[str]
) -> None:
    def section(number: int, keys: list[str]) -> Section[str]:
        def read(after: str | None, most: int) -> list[str]:
            return [one for one in sorted(keys) if after is None or one > after][:most]

        return Section(name=str(number), read=read, key=str)

    def read(request: Request) -> Answer:
        return PAGES.page_of_sections(
            request,
            [section(number, keys) for number, keys in enumerate(lists)],
            member="Names",
            show=lambda name, one: name + one,
            keep=lambda one: one not in others,
        )

    assert walked(read)[0] == [
        f"{number}{one}" for number, keys in enumerate(lists) for one in sorted(set(keys) - set(others))
    ]


@given(KEYS)
def test_pages_by_number_hold_each_entry_once_in_the_lists_own_order(keys: list[str]) -> None:
    assert walked(lambda request: PAGES.numbered(request, keys, "Names", str))[0] == keys


def test_a_position_is_the_key_of_the_last_entry_also_when_it_is_gone() -> None:
    marker = PAGES.page({"Limit": 2}, ["c", "b", "a"], str, "Names", str)["NextMarker"]
    assert base64.urlsafe_b64decode(marker) == b"b"
    assert PAGES.page({"Marker": marker}, ["a", "d"], str, "Names", str)["Names"] == ["d"]


def test_no_page_has_more_than_the_most() -> None:
    assert PAGES.size_of({}) == PAGES.size_of({"Limit": 9}) == PAGES.size_of({}, 5) == 3
    assert (PAGES.size_of({}, 1), PAGES.size_of({"Limit": 2}, 1)) == (1, 2)


@pytest.mark.parametrize("marker", ["é", "a", "%%%%", "AA==", base64.b64encode(b"\xff\xfe").decode()])
def test_a_text_that_is_no_position_is_refused_with_the_services_error(marker: str) -> None:
    with pytest.raises(InvalidMarkerException):
        PAGES.after({"Marker": marker})


@pytest.mark.parametrize("marker", ["", "-1", "1.0", "²", "12345"])
def test_a_text_that_is_no_number_is_refused_with_the_services_error(marker: str) -> None:
    with pytest.raises(InvalidMarkerException):
        PAGES.numbered({"Marker": marker}, ["a"], "Names", str)


def test_a_token_is_valid_for_its_own_question_only() -> None:
    question = Question.of(Keyring(), CALL, {"by": 1})
    token = question.token(["x", 7])
    assert question.position(token, list[object]) == ["x", 7]
    assert (question.token(None), question.position(None, str)) == (None, None)
    for other in (
        Question.of(Keyring(), CALL, {"by": 2}),
        Question.of(Keyring(), replace(CALL, action="ListOthers"), {"by": 1}),
        Question.of(Keyring(), replace(CALL, region=Region("eu-west-1")), {"by": 1}),
        Question.of(Keyring(), replace(CALL, account_id=AccountId("2" * 12)), {"by": 1}),
    ):
        with pytest.raises(InvalidNextTokenException):
            other.position(token, list[object])


@pytest.mark.parametrize("token", ["", "é", "AAAA", base64.urlsafe_b64encode(bytes(40)).decode()])
def test_a_forged_token_is_refused_with_the_services_error(token: str) -> None:
    question = Question.of(
        Keyring(), CALL, {}, invalid=lambda: InvalidParameterValue("The Marker is invalid.")
    )
    with pytest.raises(InvalidParameterValue, match="The Marker is invalid"):
        question.position(token, str)


def test_a_token_of_another_kind_of_position_is_refused() -> None:
    question = Question.of(Keyring(), CALL, {})
    with pytest.raises(InvalidNextTokenException):
        question.position(question.token("x"), int)
