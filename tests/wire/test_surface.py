"""The room's public surface."""

from __future__ import annotations

import turnlock.wire


def test_every_name_of_the_surface_is_there() -> None:
    assert all(hasattr(turnlock.wire, name) for name in turnlock.wire.__all__)


def test_the_surface_is_what_other_rooms_count_on() -> None:
    assert set(turnlock.wire.__all__) == {
        "ALGORITHM",
        "MAX_DEPTH",
        "MAX_PRESIGNED_SECONDS",
        "MAX_SKEW",
        "PROTOCOLS",
        "Claim",
        "Contract",
        "ErrorShape",
        "Headers",
        "HttpRequest",
        "HttpResponse",
        "JsonProtocol",
        "Operation",
        "QueryProtocol",
        "RestJsonProtocol",
        "WireProtocol",
        "as_api_error",
        "read_claim",
        "signing_key",
        "unserved_refusal",
        "verify",
    }
