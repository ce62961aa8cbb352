"""What a caller learns of an exception."""

from __future__ import annotations

import pytest

from turnlock.errors import (
    CommitFailed,
    Contended,
    InternalServiceError,
    ResourceNotFoundException,
    SealBroken,
    StaleFence,
    ThrottlingException,
)
from turnlock.wire import as_api_error


def test_an_error_meant_for_callers_stays_what_it_is() -> None:
    error = ResourceNotFoundException("No such secret.")
    assert as_api_error(error) is error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("hunter2"),
        SealBroken("hunter2"),
        StaleFence("hunter2"),
        CommitFailed("hunter2"),
        KeyboardInterrupt("hunter2"),
        InternalServiceError("hunter2"),
    ],
)
def test_everything_else_becomes_an_opaque_internal_error(error: BaseException) -> None:
    told = as_api_error(error)
    assert type(told) is InternalServiceError
    assert told.status == 500
    assert told.message == "An error occurred on the server side."
    assert told.__cause__ is None
    assert told.__context__ is None


def test_a_change_that_lost_to_too_many_others_is_an_error_that_sdks_try_again() -> None:
    told = as_api_error(Contended("hunter2"))
    assert (type(told), told.message) == (ThrottlingException, "Rate exceeded")
