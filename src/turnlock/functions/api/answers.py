"""What answers show of a function."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from turnlock import kms
from turnlock.functions.api.model import LATEST, FunctionVersion, OwnFunction
from turnlock.storage import Unit


def configuration(unit: Unit, version: FunctionVersion, *, qualified: bool = False) -> dict[str, Any]:
    """Return the FunctionConfiguration of a version; its ARN carries the version where it was asked for by it."""
    variables = environment_of(unit, version)
    return {
        "FunctionName": version.name,
        "FunctionArn": version.qualified_arn if qualified or version.version != LATEST else version.arn,
        "Runtime": version.runtime,
        "Role": version.role,
        "Handler": version.handler,
        "CodeSize": version.code_size,
        "Description": version.description,
        "Timeout": version.timeout,
        "MemorySize": version.memory,
        "LastModified": as_lambda_writes(version.modified_at),
        "CodeSha256": version.code_sha256,
        "Version": version.version,
        "Environment": {"Variables": variables} if variables else None,
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": version.revision_id,
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": version.disk},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": version.log_group, **version.logging},
        **version.shown,
    }


def environment_of(unit: Unit, version: FunctionVersion) -> dict[str, str]:
    """Return the environment variables of a version. Raises SealBroken."""
    if version.sealed_environment is None:
        return {}
    text = kms.unseal_field(
        unit, version.account_id, version.sealed_environment, owner=version.arn, part=ENVIRONMENT_PART
    )
    variables: dict[str, str] = json.loads(text)
    return variables


def sealed_environment(unit: Unit, function: OwnFunction, variables: dict[str, str]) -> bytes | None:
    """Return variables as they are kept; None for none."""
    if not variables:
        return None
    return kms.seal_field(
        unit, function.account_id, json.dumps(variables).encode(), owner=function.arn, part=ENVIRONMENT_PART
    )


def as_lambda_writes(moment: datetime) -> str:
    """Return a moment as `2026-11-25T12:00:00.000+0000`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "+0000")


ENVIRONMENT_PART = "environment"
