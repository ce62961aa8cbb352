"""ListSecrets, and what it and DescribeSecret show of a secret."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from turnlock.core.action import Answer, Request
from turnlock.core.call import Call
from turnlock.core.pages import Question
from turnlock.secrets.accesses import NotedReads, last_read, noted_reads
from turnlock.secrets.labels.store import labels_of
from turnlock.secrets.listing.filters import compile_filters
from turnlock.secrets.listing.search import Search, find_page
from turnlock.secrets.listing.walk import Order, Position
from turnlock.secrets.model import Secret, versions_to_stages
from turnlock.secrets.tags.store import emptied_of, tags_of
from turnlock.storage import Unit

DEFAULT_PAGE: Final = 100


def list_secrets(call: Call, request: Request, unit: Unit) -> Answer:
    """ListSecrets: the account's secrets in this Region, by default the newest first, 100 a page."""
    filters = request.get("Filters", ())
    matches = compile_filters(filters)
    size = request.get("MaxResults", DEFAULT_PAGE)
    asked = {key: value for key, value in request.items() if key not in {"NextToken", "MaxResults"}}
    question = Question.of(unit.keyring, call, asked)
    search = Search(
        account_id=call.account_id,
        region=call.region,
        filters=filters,
        planned_deletion=request.get("IncludePlannedDeletion", False),
        order=Order(
            by=request.get("SortBy", "created-date"), ascending=request.get("SortOrder", "desc") == "asc"
        ),
    )
    position = question.position(request.get("NextToken"), Position)
    found, end = find_page(unit, search, position, size)
    tags = tags_of(unit, call.account_id, call.region, [secret.name for secret in found])
    page = [secret for secret in found if matches(secret, tags.get(secret.name, {}))]
    labels, noted = labels_of(unit, page), noted_reads(unit, page)
    untagged = [secret.name for secret in page if secret.name not in tags]
    emptied = emptied_of(unit, call.account_id, call.region, untagged)
    return {
        "SecretList": [
            {
                **describe(secret, tags.get(secret.name, {}), noted),
                **({"Tags": []} if secret.name in emptied else {}),
                "SecretVersionsToStages": versions_to_stages(labels.get(secret.name, {})) or None,
            }
            for secret in page
        ],
        "NextToken": question.token(end),
    }


def describe(secret: Secret, tags: Mapping[str, str], noted: NotedReads) -> dict[str, Any]:
    """Return the members that DescribeSecret and ListSecrets share; a member without a value is None."""
    rotation = secret.rotation
    return {
        "ARN": secret.arn,
        "Name": secret.name,
        "Type": secret.secret_type,
        "Description": secret.description,
        "KmsKeyId": secret.kms_key_id,
        "RotationEnabled": rotation.enabled,
        "RotationLambdaARN": rotation.function_arn,
        "RotationRules": rotation.rules,
        "ExternalSecretRotationMetadata": secret.external_metadata,
        "ExternalSecretRotationRoleArn": secret.external_role_arn,
        "LastRotatedDate": rotation.last_rotated_at,
        "LastChangedDate": secret.last_changed_at,
        "LastAccessedDate": day(last_read(secret, noted)),
        "DeletedDate": secret.deleted_at,
        "NextRotationDate": rotation.next_rotation_at if rotation.enabled else None,
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()] or None,
        "OwningService": secret.owning_service,
        "CreatedDate": secret.created_at,
        "PrimaryRegion": secret.primary_region,
    }


def day(at: datetime | None) -> datetime | None:
    """Return the day of a moment: LastAccessedDate has no time of day."""
    return None if at is None else at.replace(hour=0, minute=0, second=0, microsecond=0)
