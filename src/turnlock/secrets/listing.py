"""ListSecrets: pages over an order that stays put, and what a list or a description says of a secret."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Select, and_, or_, select, type_coerce

from turnlock.core.action import Answer, Request
from turnlock.core.call import Call
from turnlock.errors import InvalidNextTokenException
from turnlock.secrets.filters import compile_filters
from turnlock.secrets.model import Secret, versions_to_stages
from turnlock.secrets.store import labels_of, secret_of, tags_of
from turnlock.secrets.tables import secrets
from turnlock.storage import Unit, micros

DEFAULT_PAGE = 100
SCAN = 500
"""Rows looked at for one filtered page: like AWS's, it may be short or empty and still have a next page."""

_SORT = {
    "name": secrets.c.name,
    "created-date": secrets.c.created_at,
    "last-changed-date": secrets.c.last_changed_at,
    "last-accessed-date": secrets.c.last_accessed_at,
}


class _Position(msgspec.Struct, array_like=True):
    """Where a page ended: the last row's sort value (microseconds; None where it sorts by name or has none) and name."""

    value: int | None
    name: str


def list_secrets(call: Call, request: Request, unit: Unit) -> Answer:
    """ListSecrets: the account's secrets in this Region, by default the newest first, 100 a page."""
    matches = compile_filters(request.get("Filters", ()))
    size = request.get("MaxResults", DEFAULT_PAGE)
    position = _read_token(unit, call, request)
    found = _rows(call, request, unit, position, SCAN if "Filters" in request else size + 1)
    tags = tags_of(unit, call.account_id, call.region, [secret.name for secret in found])
    page: list[Secret] = []
    seen = 0
    for secret in found:
        if len(page) == size:
            break
        seen += 1
        if matches(secret, tags.get(secret.name, {})):
            page.append(secret)
    more = seen < len(found) or len(found) == SCAN
    last = found[seen - 1] if seen else None
    return {
        "SecretList": [_entry(secret, tags.get(secret.name, {})) for secret in labels_of(unit, page)],
        "NextToken": _write_token(unit, call, request, last) if more and last is not None else None,
    }


def _entry(secret: Secret, tags: Mapping[str, str]) -> Mapping[str, Any]:
    return {**describe(secret, tags), "SecretVersionsToStages": versions_to_stages(secret.labels) or None}


def describe(secret: Secret, tags: Mapping[str, str]) -> dict[str, Any]:
    """Return what DescribeSecret and ListSecrets both say of a secret; None where there is nothing to say."""
    rotation = secret.rotation
    return {
        "ARN": secret.arn,
        "Name": secret.name,
        "Description": secret.description,
        "KmsKeyId": secret.kms_key_id,
        "RotationEnabled": rotation.enabled,
        "RotationLambdaARN": rotation.function_arn,
        "RotationRules": rotation.rules,
        "LastRotatedDate": rotation.last_rotated_at,
        "LastChangedDate": secret.last_changed_at,
        "LastAccessedDate": _day(secret.last_accessed_at),
        "DeletedDate": secret.deleted_at,
        "NextRotationDate": rotation.next_rotation_at if rotation.enabled else None,
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()] or None,
        "CreatedDate": secret.created_at,
    }


def _day(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(hour=0, minute=0, second=0, microsecond=0)


def _rows(call: Call, request: Request, unit: Unit, position: _Position | None, limit: int) -> list[Secret]:
    column = _SORT[request.get("SortBy", "created-date")]
    ascending = request.get("SortOrder", "desc") == "asc"
    statement = select(
        *(type_coerce(c, BigInteger) if c.name.endswith("_at") else c for c in secrets.c)
    ).where(secrets.c.account_id == call.account_id, secrets.c.region == call.region)
    if not request.get("IncludePlannedDeletion", False):
        statement = statement.where(secrets.c.deleted_at.is_(None))
    if position is not None:
        statement = _after(statement, column, position, ascending=ascending)
    order = (
        (column.is_(None), column, secrets.c.name)
        if ascending
        else (column.is_(None), column.desc(), secrets.c.name.desc())
    )
    return [secret_of(tuple(row)) for row in unit.connection.execute(statement.order_by(*order).limit(limit))]


def _after(statement: Select[Any], column: Any, position: _Position, *, ascending: bool) -> Select[Any]:
    """Continue behind a position; rows without a sort value come last in either direction."""
    name = secrets.c.name
    name_after = name > position.name if ascending else name < position.name
    if column is name:
        return statement.where(name_after)
    if position.value is None:
        return statement.where(column.is_(None), name_after)
    raw = type_coerce(column, BigInteger)
    value_after = raw > position.value if ascending else raw < position.value
    return statement.where(or_(value_after, and_(raw == position.value, name_after), column.is_(None)))


def _sort_value(request: Request, secret: Secret) -> int | None:
    at = {
        "created-date": secret.created_at,
        "last-changed-date": secret.last_changed_at,
        "last-accessed-date": secret.last_accessed_at,
    }.get(request.get("SortBy", "created-date"))
    return None if at is None else micros(at)


def _asked(call: Call, request: Request) -> bytes:
    """Return what a token is good for: this question of this account in this Region."""
    fixed = {key: value for key, value in request.items() if key not in {"NextToken", "MaxResults"}}
    return msgspec.json.encode([call.account_id, call.region, fixed], order="sorted")


def _write_token(unit: Unit, call: Call, request: Request, last: Secret) -> str:
    body = msgspec.msgpack.encode(_Position(_sort_value(request, last), last.name))
    mac = unit.keyring.mac("next-token", _asked(call, request) + b"\0" + body)[:16]
    return base64.urlsafe_b64encode(mac + body).decode()


def _read_token(unit: Unit, call: Call, request: Request) -> _Position | None:
    """Return where the next page starts. Raises InvalidNextTokenException for a token that we did not make for this."""
    token = request.get("NextToken")
    if token is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii"))
        mac, body = raw[:16], raw[16:]
        expected = unit.keyring.mac("next-token", _asked(call, request) + b"\0" + body)[:16]
        if not hmac.compare_digest(mac, expected):
            raise InvalidNextTokenException
        return msgspec.msgpack.decode(body, type=_Position)
    except (ValueError, msgspec.DecodeError, msgspec.ValidationError):
        raise InvalidNextTokenException from None
