"""The tree of errors: its docstrings are messages, and its drawing shows every branch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from turnlock import errors
from turnlock.core.ports import SystemClock, SystemEntropy
from turnlock.errors import ApiError, ExpiredIdentityToken, InternalServiceError, TurnlockError


def below(kind: type[TurnlockError]) -> Iterator[type[TurnlockError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from below(child)


ALL = list(below(TurnlockError))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_errors_docstring_is_its_default_message(kind: type[TurnlockError]) -> None:
    assert kind().message == str(kind()) == (kind.__doc__ or "").strip() != ""
    assert kind("other").message == "other"


def test_an_api_errors_code_is_its_name_and_only_the_fault_is_a_500() -> None:
    kinds = [kind for kind in ALL if issubclass(kind, ApiError) and kind is not ApiError]
    # What ends at STS is called alike, whatever its status.
    assert [kind for kind in kinds if kind().code != kind.__name__] == [ExpiredIdentityToken]
    assert [kind for kind in kinds if kind.status >= 500] == [InternalServiceError]


def test_every_error_that_stays_inside_is_drawn() -> None:
    drawing = errors.__doc__ or ""
    for kind in ALL:
        if not issubclass(kind, ApiError):
            assert kind.__name__ in drawing


def test_the_system_clock_is_in_utc_and_the_kernel_draws_what_is_asked_for() -> None:
    assert SystemClock().now().utcoffset() is not None
    assert SystemClock().now().tzname() == "UTC"
    assert len(SystemEntropy().bytes(17)) == 17
