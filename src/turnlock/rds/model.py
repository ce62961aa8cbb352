"""DB instances and clusters as values, and the rules for their names and passwords.

Pure: no store, no clock, no randomness. The rules are those of the RDS API reference (CreateDBInstance, CreateDBCluster).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from turnlock.core.arn import AccountId, Arn, Region, partition_of
from turnlock.errors import InvalidParameterCombination, InvalidParameterValue

MOST_TAGS: Final = 50
"""Tags of a resource (RDS user guide, "Quotas and constraints")."""

MOST_LOCAL: Final = 8
"""DB instances that one deployment runs itself: each is a server process with 16 MB of buffers and more."""

INTERNAL_USER: Final = "rdsadmin"
"""The provider's own superuser in a server that it started; reserved, as on AWS."""

_IDENTIFIER = re.compile(r"[a-z](?:-?[a-z0-9])*")
_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
_USERNAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NOT_IN_PASSWORDS = re.compile(r"[^!-~]|[/@\"']")
_RESERVED_USERS = frozenset({INTERNAL_USER, "root", "mysql", "public", "pg_signal_backend"})


class Kind(Enum):
    """What a resource is; the value is the resource type in its ARN."""

    INSTANCE = "db"
    CLUSTER = "cluster"


class Status(Enum):
    """How a resource is, in the words of RDS ("Viewing Amazon RDS DB instance status")."""

    CREATING = "creating"
    """Its server is being made."""
    AVAILABLE = "available"
    RESETTING = "resetting-master-credentials"
    """Its server is about to be given the master password that the row holds."""
    DELETING = "deleting"
    """Its server is being ended and its files removed; the row goes last."""
    FAILED = "failed"
    """Its server does not run, and `status_message` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRules:
    """What is particular to an engine's instances."""

    port: int
    dbname: str | None
    """The database that is there when none was asked for."""
    username_length: int
    password_length: int
    reserved: frozenset[str] = frozenset()
    """Names of databases that are the server's own, in lower case."""
    clustered: bool = False
    """An Aurora engine: its instances are members of a cluster."""


_POSTGRESQL: Final = EngineRules(
    port=5432,
    dbname="postgres",
    username_length=63,
    password_length=128,
    reserved=frozenset({INTERNAL_USER, "template0", "template1"}),
)
_MYSQL: Final = EngineRules(
    port=3306,
    dbname=None,
    username_length=16,
    password_length=41,
    reserved=frozenset({INTERNAL_USER, "information_schema", "mysql", "performance_schema", "sys"}),
)

ENGINES: Final[Mapping[str, EngineRules]] = MappingProxyType(
    {
        "aurora-mysql": replace(_MYSQL, clustered=True),
        "aurora-postgresql": replace(_POSTGRESQL, clustered=True),
        "mariadb": _MYSQL,
        "mysql": _MYSQL,
        "postgres": _POSTGRESQL,
    }
)
"""By the name that RDS has for an engine: those that there are rotation functions for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DbResource:
    """One DB instance or DB cluster of the registry."""

    account_id: AccountId
    region: Region
    kind: Kind
    identifier: str
    """In lower case, as RDS stores it."""
    resource_id: str
    """`db-…` or `cluster-…`: never given twice, whatever the identifier."""
    engine: str
    engine_version: str | None = None
    status: Status
    status_message: str | None = None
    """Why it failed, in words that hold no secret."""
    master_username: str | None = None
    dbname: str | None = None
    host: str | None = None
    """Where it is reached (a cluster: its writer); None until its server has started."""
    reader_host: str | None = None
    """A cluster's reader endpoint."""
    port: int | None = None
    cluster_id: str | None = None
    """The cluster that an instance is a member of."""
    writer: bool = False
    """Whether a member is its cluster's writer."""
    source_id: str | None = None
    """The instance that this one is a read replica of."""
    secret_arn: str | None = None
    """The secret that RDS manages for the master user, if it does."""
    local: bool = False
    """Whether Turnlock started its server and looks after it."""
    node_id: str | None = None
    """The data directory that holds its files, None until one has taken it on."""
    created_at: datetime
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Members of the request that are only kept and shown."""
    sealed_password: bytes | None = field(default=None, repr=False)
    """The master password, sealed; None where a secret holds it."""
    sealed_internal: bytes | None = field(default=None, repr=False)
    """The password of INTERNAL_USER, sealed."""

    @property
    def arn(self) -> str:
        """The ARN, `arn:aws:rds:REGION:ACCOUNT:db:IDENTIFIER` or `…:cluster:IDENTIFIER`."""
        return rds_arn(self.account_id, self.region, self.kind, self.identifier)

    @property
    def protected(self) -> bool:
        """Whether deletion protection is on."""
        return bool(self.settings.get("DeletionProtection"))

    def evolve(self, **changes: Any) -> DbResource:
        """Return a copy with these fields changed."""
        return replace(self, **changes)


def rds_arn(account_id: AccountId, region: Region, kind: Kind, identifier: str) -> str:
    """Return the ARN of an instance or cluster."""
    return f"arn:{partition_of(region)}:rds:{region}:{account_id}:{kind.value}:{identifier}"


def read_identifier(text: str, kind: Kind, account_id: AccountId, region: Region) -> str | None:
    """Return the identifier that a caller's identifier or ARN names here; None for an ARN of anything else."""
    if not text.startswith("arn:"):
        return text.lower()
    try:
        arn = Arn.parse(text)
    except ValueError:
        return None
    identifier = arn.resource.removeprefix(f"{kind.value}:")
    return identifier.lower() if text == rds_arn(account_id, region, kind, identifier) else None


def read_arn(text: str, account_id: AccountId, region: Region) -> tuple[Kind, str]:
    """Return what the ResourceName of a tagging call names. Raises InvalidParameterValue when it is no ARN of ours."""
    for kind in Kind:
        identifier = read_identifier(text, kind, account_id, region) if text.startswith("arn:") else None
        if identifier is not None:
            return kind, identifier
    raise InvalidParameterValue(f"Invalid resource name: {text}")


def new_identifier(text: str, member: str) -> str:
    """Return a new resource's identifier in lower case; InvalidParameterValue unless it may have this name."""
    identifier = text.lower()
    if len(identifier) > 63 or not _IDENTIFIER.fullmatch(identifier):
        raise InvalidParameterValue(
            f"The parameter {member} is not a valid identifier. Identifiers must begin with a letter; must contain only"
            " ASCII letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens."
        )
    return identifier


def engine_rules(engine: str) -> EngineRules:
    """Return an engine's rules; InvalidParameterValue for one that is not served."""
    rules = ENGINES.get(engine)
    if rules is None:
        raise InvalidParameterValue(f"Invalid DB engine: {engine}. Served are {', '.join(ENGINES)}.")
    return rules


def check_username(engine: str, username: str | None) -> str:
    """Return the master user's name; InvalidParameterValue unless the engine's servers can have it."""
    if username is None:
        raise InvalidParameterValue("The parameter MasterUsername must be provided and must not be blank.")
    if username.lower() in _RESERVED_USERS:
        raise InvalidParameterValue(
            f"MasterUsername {username} cannot be used as it is a reserved word used by the engine"
        )
    if len(username) > engine_rules(engine).username_length or not _USERNAME.fullmatch(username):
        raise InvalidParameterValue("The parameter MasterUsername is not a valid user name for this engine.")
    return username


def check_password(engine: str, password: str) -> str:
    """Return the master password; InvalidParameterValue, which never shows it, unless RDS would take it."""
    most = engine_rules(engine).password_length
    if not 8 <= len(password) <= most:
        raise InvalidParameterValue(
            f"The parameter MasterUserPassword is not a valid password because it is not 8 to {most} characters long."
        )
    if _NOT_IN_PASSWORDS.search(password):
        raise InvalidParameterValue(
            "The parameter MasterUserPassword is not a valid password. Only printable ASCII characters besides '/', '@',"
            " '\"', ' ' may be used."
        )
    return password


def check_endpoint(address: str) -> str:
    """Return the address of a server that runs already; InvalidParameterValue unless it is one host name or address."""
    if not _HOST.fullmatch(address):
        raise InvalidParameterValue("The endpoint's address is not one host name or address.")
    return address


def check_dbname(engine: str, dbname: str | None) -> str | None:
    """Return the first database's name, the engine's own when none is asked for.

    InvalidParameterValue for what is no name or the server's own: the master user will own the database.
    """
    if dbname is None:
        return engine_rules(engine).dbname
    if len(dbname) > 63 or not _USERNAME.fullmatch(dbname):
        raise InvalidParameterValue("The parameter DBName is not a valid database name.")
    if dbname.lower() in engine_rules(engine).reserved:
        raise InvalidParameterValue(
            f"DBName {dbname} cannot be used as it is a reserved word used by the engine"
        )
    return dbname


PROMISES: Final[Mapping[str, tuple[object, ...]]] = MappingProxyType(
    {
        # A cluster's least and default on AWS, which clients always send. No backup is made.
        "BackupRetentionPeriod": (0, 1),
        "EnableIAMDatabaseAuthentication": (False,),
        "EnablePerformanceInsights": (False,),
        "MonitoringInterval": (0,),
        "MultiAZ": (False,),
        "MultiTenant": (False,),
        "PubliclyAccessible": (False,),
        "StorageEncrypted": (False,),
    }
)
"""Members that promise something which is not done, each with the values that are taken all the same."""

REFUSED: Final = frozenset(
    {
        "DBSystemId",
        "Domain",
        "DomainAuthSecretArn",
        "DomainFqdn",
        "GlobalClusterIdentifier",
        "KmsKeyId",
        "MasterUserAuthenticationType",
        "MonitoringRoleArn",
        "NcharCharacterSetName",
        "ReplicationSourceIdentifier",
        "TdeCredentialArn",
        "Timezone",
    }
)
"""Members that promise something which is not done, whatever their value."""

KEPT: Final = frozenset(
    {
        "AllocatedStorage",
        "AutoMinorVersionUpgrade",
        "AvailabilityZone",
        "BackupRetentionPeriod",
        "CopyTagsToSnapshot",
        "DBClusterParameterGroupName",
        "DBInstanceClass",
        "DBParameterGroupName",
        "DBSecurityGroups",
        "DBSubnetGroupName",
        "DeletionProtection",
        "Iops",
        "LicenseModel",
        "MaxAllocatedStorage",
        "OptionGroupName",
        "PreferredBackupWindow",
        "PreferredMaintenanceWindow",
        "PromotionTier",
        "StorageThroughput",
        "StorageType",
        "VpcSecurityGroupIds",
    }
)
"""Members that are kept and shown and change nothing else: what they size, time or place does not exist here."""


def kept_settings(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that are only kept. Raises InvalidParameterCombination for one that cannot be kept as a promise."""
    for member, taken in PROMISES.items():
        if request.get(member, taken[0]) not in taken:
            words = " or ".join(str(value).lower() for value in taken)
            raise InvalidParameterCombination(f"{member}: this server can only take {words}.")
    if asked := REFUSED & request.keys():
        raise InvalidParameterCombination(f"{min(asked)} is not supported by this server.")
    return {member: request[member] for member in sorted(KEPT & request.keys())}
