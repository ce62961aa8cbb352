"""NextToken: where a page of a list ended. Only this server can make one, and it is valid for one question."""

from __future__ import annotations

import base64
import hmac
from typing import Any, TypeVar

import msgspec

from turnlock.core.call import Call
from turnlock.errors import InvalidNextTokenException
from turnlock.storage import Unit

T = TypeVar("T")


def question(call: Call, **asked: Any) -> bytes:
    """Return the question that a token is bound to: operation, request, account and Region."""
    return msgspec.json.encode([call.account_id, call.region, call.action, asked], order="sorted")


def write_token(unit: Unit, asked: bytes, position: object) -> str:
    """Return a NextToken for a position (what msgspec can encode) in the answer to a question."""
    body = msgspec.msgpack.encode(position)
    return base64.urlsafe_b64encode(_mac(unit, asked, body) + body).decode()


def read_token(unit: Unit, asked: bytes, token: str, kind: type[T]) -> T:
    """Return the position in a NextToken. Raises InvalidNextTokenException for a token of another question, or a forged one."""
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii"))
        mac, body = raw[:16], raw[16:]
        if not hmac.compare_digest(mac, _mac(unit, asked, body)):
            raise InvalidNextTokenException
        return msgspec.msgpack.decode(body, type=kind)
    except (ValueError, msgspec.DecodeError, msgspec.ValidationError):
        raise InvalidNextTokenException from None


def _mac(unit: Unit, asked: bytes, body: bytes) -> bytes:
    return unit.keyring.mac("next-token", asked + b"\0" + body)[:16]
