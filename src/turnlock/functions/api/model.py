"""What is kept of a function: pure values, written whole into rows under a MAC."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from turnlock.core.arn import AccountId, Region, partition_of
from turnlock.functions.model import FunctionArn

LATEST: Final = "$LATEST"
DEFAULT_TIMEOUT: Final = 3
DEFAULT_MEMORY: Final = 128
DEFAULT_DISK: Final = 512
"""MiB of /tmp, as on Lambda."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionVersion:
    """`$LATEST` or a published version: what an invocation runs."""

    account_id: AccountId
    region: Region
    name: str
    version: str
    revision_id: str
    role: str
    runtime: str
    handler: str
    code_id: str
    """The SHA-256 of its package, in hexadecimal digits."""
    code_size: int
    modified_at: datetime
    description: str = ""
    timeout: int = DEFAULT_TIMEOUT
    """Seconds."""
    memory: int = DEFAULT_MEMORY
    """MiB."""
    disk: int = DEFAULT_DISK
    """MiB."""
    sealed_environment: bytes | None = None
    """A JSON object; None without variables."""
    shown: Mapping[str, Any] = field(default_factory=dict)
    """Settings that are kept and shown and have no effect here, such as VpcConfig."""
    logging: Mapping[str, str] = field(default_factory=dict)
    """What is set of LoggingConfig."""

    @property
    def arn(self) -> str:
        """The ARN without a version."""
        return function_arn(self.account_id, self.region, self.name)

    @property
    def qualified_arn(self) -> str:
        """The ARN with the version."""
        return f"{self.arn}:{self.version}"

    @property
    def code_sha256(self) -> str:
        """CodeSha256: the hash in Base64."""
        return base64.b64encode(bytes.fromhex(self.code_id)).decode()

    @property
    def log_group(self) -> str:
        """The name of its log group in CloudWatch Logs."""
        return self.logging.get("LogGroup", f"/aws/lambda/{self.name}")

    def evolve(self, **changes: Any) -> FunctionVersion:
        """Return a copy that differs in these."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFunction:
    """A function, whatever its versions."""

    account_id: AccountId
    region: Region
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    last_version: int = 0
    """The number of the newest published version; never used twice."""
    concurrency: int | None = None
    """How many may run at once; None where nobody reserved."""

    @property
    def arn(self) -> str:
        """The ARN without a version."""
        return function_arn(self.account_id, self.region, self.name)

    def evolve(self, **changes: Any) -> OwnFunction:
        """Return a copy that differs in these."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name for one version."""

    account_id: AccountId
    region: Region
    function: str
    name: str
    version: str
    description: str
    revision_id: str

    @property
    def arn(self) -> str:
        """The ARN of the function with the alias."""
        return f"{function_arn(self.account_id, self.region, self.function)}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionPolicy:
    """The resource policy of a function, a version or an alias."""

    account_id: AccountId
    region: Region
    function: str
    qualifier: str
    """Empty for the function itself."""
    policy: str
    """JSON."""
    revision_id: str


def function_arn(account_id: str, region: str, name: str) -> str:
    """Return the ARN of a function without a version."""
    return str(FunctionArn(partition=partition_of(region), region=region, account_id=account_id, name=name))
