"""The five calls of Secrets Manager that a rotation needs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Any, Protocol, cast

from turnlock.rotators.passwords import PasswordRules


class Stage(Enum):
    """The staging labels that a rotation knows."""

    PENDING = "AWSPENDING"
    """The version that is being made."""
    CURRENT = "AWSCURRENT"
    """The version that readers get."""
    PREVIOUS = "AWSPREVIOUS"
    """The version that readers got before."""


class SecretsManager(Protocol):
    """The part of boto3's Secrets Manager client that is used here."""

    exceptions: Any

    def describe_secret(self, **request: Any) -> Any: ...
    def get_secret_value(self, **request: Any) -> Any: ...
    def get_random_password(self, **request: Any) -> Any: ...
    def put_secret_value(self, **request: Any) -> Any: ...
    def update_secret_version_stage(self, **request: Any) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What DescribeSecret says about the versions of a secret."""

    arn: str
    rotation_enabled: bool
    labels: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Version id to staging labels."""
    tags: Mapping[str, str] = field(default_factory=dict)

    def carries(self, token: str, stage: Stage) -> bool:
        """Tell whether the version `token` has the label."""
        return stage.value in self.labels.get(token, frozenset())

    def version_with(self, stage: Stage) -> str | None:
        """Return the id of the version that has the label."""
        return next((version for version, labels in self.labels.items() if stage.value in labels), None)


class Endpoint:
    """One secret, as its rotation function sees it.

    What the endpoint refuses is raised as botocore's ClientError, whose messages carry no values.
    """

    def __init__(self, client: SecretsManager, secret_id: str) -> None:
        self._client = client
        self._secret_id = secret_id

    def of(self, secret_id: str) -> Endpoint:
        """Return another secret, through the same client."""
        return Endpoint(self._client, secret_id)

    def describe(self) -> Description:
        """Return the present labels."""
        answer = self._client.describe_secret(SecretId=self._secret_id)
        return Description(
            arn=answer.get("ARN", self._secret_id),
            rotation_enabled=answer.get("RotationEnabled", False),
            labels={
                version: frozenset(labels) for version, labels in answer.get("VersionIdsToStages", {}).items()
            },
            tags={tag["Key"]: tag["Value"] for tag in answer.get("Tags", ())},
        )

    def value(self, stage: Stage, token: str | None = None) -> dict[str, Any] | None:
        """Return the JSON object under a label (of one version, if `token` names it), or None when there is none.

        ValueError when the value is not a JSON object.
        """
        request = {"SecretId": self._secret_id, "VersionStage": stage.value}
        if token is not None:
            request["VersionId"] = token
        try:
            text = self._client.get_secret_value(**request).get("SecretString")
        except self._client.exceptions.ResourceNotFoundException:
            return None
        return _json_object(text, stage)

    def random_password(self, rules: PasswordRules) -> str:
        """Return a new password from the endpoint's generator."""
        return str(self._client.get_random_password(**rules.request())["RandomPassword"])

    def put_pending(self, value: Mapping[str, Any], token: str, rotation_token: str | None) -> None:
        """Store the pending version; nothing happens when another attempt has stored it meanwhile."""
        request = {
            "SecretId": self._secret_id,
            "ClientRequestToken": token,
            "SecretString": json.dumps(value),
            "VersionStages": [Stage.PENDING.value],
        }
        if rotation_token:
            request["RotationToken"] = rotation_token
        try:
            self._client.put_secret_value(**request)
        except self._client.exceptions.ResourceExistsException:
            if self.value(Stage.PENDING, token) is None:
                raise

    def make_current(self, token: str, instead_of: str | None) -> None:
        """Move AWSCURRENT to the version `token`."""
        request = {"SecretId": self._secret_id, "VersionStage": Stage.CURRENT.value, "MoveToVersionId": token}
        if instead_of is not None:
            request["RemoveFromVersionId"] = instead_of
        self._client.update_secret_version_stage(**request)


def _json_object(text: object, stage: Stage) -> dict[str, Any]:
    try:
        parsed = json.loads(text) if isinstance(text, str) else None
    except ValueError:  # its `doc` is the text
        parsed = None
    value: dict[str, Any] | None = parsed if isinstance(parsed, dict) else None
    if value is None:
        raise ValueError(f"the {stage.value} version is not a JSON object")
    return value


@cache
def client() -> SecretsManager:
    """Return this process's Secrets Manager client; KeyError when the environment does not name the endpoint."""
    return cast("SecretsManager", service_client("secretsmanager"))


def service_client(service: str) -> Any:
    """Return a new client of a service at SECRETS_MANAGER_ENDPOINT; KeyError when the environment does not name it."""
    endpoint = os.environ["SECRETS_MANAGER_ENDPOINT"]
    # Imported here, and without boto3's session around it, because this is most of a cold start.
    from botocore.config import Config  # noqa: PLC0415
    from botocore.session import get_session  # noqa: PLC0415

    return get_session().create_client(
        service,
        endpoint_url=endpoint,
        region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        config=Config(
            connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 4}
        ),
    )
