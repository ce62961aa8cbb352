"""The places for large bodies; what a connection does with them is in tests/shell/http."""

from __future__ import annotations

import pytest

from turnlock.errors import RequestEntityTooLargeException, ThrottlingException
from turnlock.shell.bodies import LARGE_BODIES, LARGE_BODY, LARGE_EVENT, MAX_BODY, LargeBodies

PATH = "/2015-03-31/functions"


def test_a_large_body_has_a_place_where_packages_come_in_and_nowhere_else() -> None:
    places = LargeBodies()
    places.take(PATH, LARGE_BODY)
    places.take(f"{PATH}/f/code", LARGE_BODY)
    places.take(f"{PATH}/f/invocations", LARGE_EVENT)
    refused = (
        ("/", MAX_BODY + 1),
        (PATH, LARGE_BODY + 1),
        (f"{PATH}/f/invocations", LARGE_EVENT + 1),
        (f"{PATH}/f", MAX_BODY + 1),
    )
    for path, length in refused:
        with pytest.raises(RequestEntityTooLargeException):
            places.take(path, length)


def test_there_are_few_places_and_each_can_be_taken_again() -> None:
    places = LargeBodies()
    for _ in range(LARGE_BODIES):
        places.take(PATH, MAX_BODY + 1)
    with pytest.raises(ThrottlingException):
        places.take(PATH, MAX_BODY + 1)
    places.give_back()
    places.take(PATH, MAX_BODY + 1)
