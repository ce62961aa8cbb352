"""ListSecretVersionIds: a secret's versions that hold a value, the newest first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, select, tuple_, type_coerce

from turnlock.core.action import Action, Answer, Request
from turnlock.core.call import Call
from turnlock.core.pages import Question
from turnlock.secrets.accesses import later, noted_reads, owner_key
from turnlock.secrets.listing.api import day
from turnlock.secrets.lookup import require_secret, secret_subject
from turnlock.secrets.model import Secret, stages_of
from turnlock.secrets.tables import secret_versions
from turnlock.storage import Unit, moment

DEFAULT_PAGE: Final = 100

_MANAGED_KEY: Final = "DefaultEncryptionKey"
"""How AWS's console and CLI show aws/secretsmanager here."""


class _Position(msgspec.Struct, array_like=True):
    """The last version of a page: when it was made (microseconds) and its id."""

    made: int
    version_id: str


def list_secret_version_ids(call: Call, request: Request, unit: Unit) -> Answer:
    """ListSecretVersionIds: labelled versions, with IncludeDeprecated all; 100 a page unless MaxResults says less."""
    secret = require_secret(call, request, unit)
    deprecated = request.get("IncludeDeprecated", False)
    size = request.get("MaxResults", DEFAULT_PAGE)
    question = Question.of(unit.keyring, call, {"arn": secret.arn, "deprecated": deprecated})
    position = question.position(request.get("NextToken"), _Position)
    rows = _rows(unit, secret, position, size + 1, deprecated=deprecated)
    page = rows[:size]
    noted = noted_reads(unit, [secret]).get(owner_key(secret), {})
    last = _Position(page[-1][1], page[-1][0]) if len(rows) > size else None
    return {
        "Versions": [_entry(secret, row, noted) for row in page],
        "NextToken": question.token(last),
        "ARN": secret.arn,
        "Name": secret.name,
    }


ACTIONS = (
    Action(
        name="ListSecretVersionIds",
        handler=list_secret_version_ids,
        subject=secret_subject,
        mutates=False,
    ),
)


def _entry(secret: Secret, row: Any, noted: Mapping[str, datetime]) -> dict[str, Any]:
    version_id, made, key, accessed = row
    read = later(None if accessed is None else moment(accessed), noted.get(version_id))
    return {
        "VersionId": version_id,
        "VersionStages": stages_of(secret.labels, version_id) or None,
        "LastAccessedDate": day(read),
        "CreatedDate": moment(made),
        "KmsKeyIds": [key or _MANAGED_KEY],
    }


def _rows(
    unit: Unit, secret: Secret, position: _Position | None, limit: int, *, deprecated: bool
) -> list[Any]:
    columns = secret_versions.c
    made, accessed = (type_coerce(columns[name], BigInteger) for name in ("created_at", "last_accessed_at"))
    statement = select(columns.version_id, made, columns.kms_key_id, accessed).where(
        columns.account_id == secret.account_id,
        columns.region == secret.region,
        columns.name == secret.name,
        columns.kind.is_not(None),
    )
    if not deprecated:
        statement = statement.where(columns.version_id.in_(sorted(set(secret.labels.values()))))
    if position is not None:
        statement = statement.where(
            tuple_(made, columns.version_id) < tuple_(position.made, position.version_id)
        )
    order = (columns.created_at.desc(), columns.version_id.desc())
    return list(unit.connection.execute(statement.order_by(*order).limit(limit)))
