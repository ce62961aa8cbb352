"""A Secrets Manager in memory, for the tests of rotation functions: the border where their process ends.

It keeps the rules that a rotation can run into: a version's value never changes, a label is on one version, a
superseded rotation may change nothing. It checks no signature and no permission.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any


class ResourceNotFoundException(Exception):
    """Secrets Manager can't find the specified secret."""


class ResourceExistsException(Exception):
    """A resource with the ID you requested already exists."""


class InvalidRequestException(Exception):
    """You provided a VersionStage that is not associated to the provided VersionId."""


class AccessDeniedException(Exception):
    """The rotation was superseded: its credentials are good for nothing any more."""


class InMemorySecretsManager:
    """One secret, with the methods of boto3's client; `calls` lists the names of those that were called."""

    exceptions = SimpleNamespace(
        ResourceNotFoundException=ResourceNotFoundException,
        ResourceExistsException=ResourceExistsException,
        InvalidRequestException=InvalidRequestException,
        AccessDeniedException=AccessDeniedException,
    )

    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:database-AbCdEf"

    def __init__(self, value: Mapping[str, Any] | None = None, version: str = "first") -> None:
        self.rotation_enabled = True
        self.superseded = False
        self.values: dict[str, str] = {}
        self.labels: dict[str, set[str]] = {}
        self.calls: list[str] = []
        self.rotation_tokens: list[str | None] = []
        self.others: dict[str, str] = {}
        """The AWSCURRENT values of other secrets, such as a master secret, by the id that names them."""
        if value is not None:
            self.store(version, value, "AWSCURRENT")

    def store(self, token: str, value: Mapping[str, Any] | str, *labels: str) -> None:
        """Keep a version with labels, taken from whoever had them; text is kept as it is."""
        self.values[token] = value if isinstance(value, str) else json.dumps(value)
        self.label(token, *labels)

    def label(self, token: str, *labels: str) -> None:
        """Move labels to a version, which need not have a value."""
        for present in self.labels.values():
            present.difference_update(labels)
        self.labels.setdefault(token, set()).update(labels)

    def value(self, stage: str) -> dict[str, Any]:
        """Return the parsed value under a label; KeyError when there is none."""
        parsed: dict[str, Any] = json.loads(self.values[self._labelled(stage) or ""])
        return parsed

    def describe_secret(self, **request: Any) -> dict[str, Any]:
        """DescribeSecret."""
        self._called("DescribeSecret", request)
        stages = {token: sorted(labels) for token, labels in self.labels.items() if labels}
        return {"ARN": self.arn, "RotationEnabled": self.rotation_enabled, "VersionIdsToStages": stages}

    def get_secret_value(self, **request: Any) -> dict[str, Any]:
        """GetSecretValue by label, and by version too if one is named."""
        if request["SecretId"] in self.others:
            return {"ARN": request["SecretId"], "SecretString": self.others[request["SecretId"]]}
        self._called("GetSecretValue", request)
        token = request.get("VersionId") or self._labelled(request["VersionStage"])
        if token is None or token not in self.values:
            raise ResourceNotFoundException
        if request["VersionStage"] not in self.labels[token]:
            raise InvalidRequestException
        return {"ARN": self.arn, "VersionId": token, "SecretString": self.values[token]}

    def get_random_password(self, **request: Any) -> dict[str, Any]:
        """GetRandomPassword, heeding the length and the excluded characters only; it has one of each kind that is left."""
        self.calls.append("GetRandomPassword")
        kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits, string.punctuation)
        left = ["".join(one for one in kind if one not in request["ExcludeCharacters"]) for kind in kinds]
        chosen = [secrets.choice(kind) for kind in left if kind]
        chosen += [secrets.choice("".join(left)) for _ in range(request["PasswordLength"] - len(chosen))]
        secrets.SystemRandom().shuffle(chosen)
        return {"RandomPassword": "".join(chosen)}

    def put_secret_value(self, **request: Any) -> dict[str, Any]:
        """PutSecretValue."""
        self._called("PutSecretValue", request)
        token, text = request["ClientRequestToken"], request["SecretString"]
        if self.values.get(token, text) != text:
            raise ResourceExistsException
        self.rotation_tokens.append(request.get("RotationToken"))
        self.store(token, text, *request["VersionStages"])
        return {"ARN": self.arn, "VersionId": token}

    def update_secret_version_stage(self, **request: Any) -> dict[str, Any]:
        """UpdateSecretVersionStage; moving AWSCURRENT leaves AWSPREVIOUS on the version that had it."""
        self._called("UpdateSecretVersionStage", request)
        label, source = request["VersionStage"], request.get("RemoveFromVersionId")
        if self._labelled(label) != source:
            raise ResourceNotFoundException
        self.label(request["MoveToVersionId"], label)
        if label == "AWSCURRENT" and source:
            self.label(source, "AWSPREVIOUS")
        return {"ARN": self.arn}

    def _labelled(self, stage: str) -> str | None:
        return next((token for token, labels in self.labels.items() if stage in labels), None)

    def _called(self, name: str, request: Mapping[str, Any]) -> None:
        self.calls.append(name)
        if self.superseded:
            raise AccessDeniedException
        if request["SecretId"] != self.arn:
            raise ResourceNotFoundException
