"""Operations of the services' models that have no handler, each with the reason: with the handlers they are the whole model.

A caller of one gets UnknownOperationException (`shell/admission.py`). A reason often holds for all operations about one noun of
a model. So reasons stand under patterns of names, and an operation has that of the first pattern that fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

from turnlock.wire.contract import Contract

_SAML: Final = "SAML providers are not served; OpenID Connect does the same for workloads"
_OUTBOUND: Final = "this server issues no web identity tokens of its own"
_IMPORT: Final = "every material is drawn here and sealed under the root key; none is imported"
_REGIONS: Final = (
    "a key of many Regions is one material in many places; replicas of secrets have keys of their own"
)
_ENCAPSULATION: Final = "needs ML-KEM, which `cryptography` does not have on every platform"
_MACHINE: Final = "functions run on the server's own machines"
_POLICY_WRITTEN: Final = "AddPermission and RemovePermission write the policy"
_TELLS_THE_SAME: Final = "GetAccountAuthorizationDetails and GetAccessKeyLastUsed tell the same"
_RIGHTS_USED: Final = "the trail tells which rights were used, and when"
_DELEGATED: Final = "rights are delegated with roles and trust policies here"
_NO_ORGANISATION: Final = "there is no organisation of accounts"
_NO_PROPERTIES: Final = "accounts have no such properties or preferences here"
_NO_CREDENTIALS: Final = "no service here takes SSH keys or credentials of its own"
_PARAMETERS: Final = "parameters are the server's own configuration, which RDS would overwrite"
_EVENTS: Final = "events are told by EventBridge and the trail"
_SERVERLESS: Final = "Aurora Serverless is not served"
_NO_BACKUPS: Final = "there are no backups to restore"
_NO_REPLICA: Final = "a local server has no replica, and a registered one is promoted where it runs"
_ALWAYS_THERE: Final = "not yet: a local server runs as long as it is there"

PATTERNS: Final[Mapping[str, Mapping[str, str]]] = {
    "secretsmanager": {"*CrossAccountReplica": "needs replication between accounts"},
    "kms": {
        "*CustomKeyStore*": "custom key stores belong to AWS CloudHSM and external proxies; here an HSM holds the root key",
        "Decapsulate": _ENCAPSULATION,
        "DeriveSharedSecret": "needs keys for key agreement, which nothing here uses",
        "Encapsulate": _ENCAPSULATION,
        "GetKeyLastUsage": "needs the trail's index, which comes with CloudTrail",
        "GetParametersForImport": _IMPORT,
        "*Import*KeyMaterial": _IMPORT,
        "ReplicateKey": _REGIONS,
        "UpdatePrimaryRegion": _REGIONS,
    },
    "sts": {
        "AssumeRoleWithSAML": _SAML,
        "AssumeRoot": "needs an organisation of accounts",
        "DecodeAuthorizationMessage": "denials name the statement that decides in clear text; none is encoded",
        "GetDelegatedAccessToken": _OUTBOUND,
        "GetFederationToken": "needs a principal of a kind of its own; AssumeRole with a session policy does the same",
        "GetWebIdentityToken": _OUTBOUND,
    },
    "iam": {
        "*SAMLProvider*": _SAML,
        "*ServerCertificate*": "no service here takes certificates from IAM",
        "*SigningCertificate": "no service here takes certificates from IAM",
        "*SSHPublicKey": _NO_CREDENTIALS,
        "*ServiceSpecificCredential": _NO_CREDENTIALS,
        "*Organizations*": _NO_ORGANISATION,
        "*DelegationRequest*": _DELEGATED,
        "AcquireRole": _DELEGATED,
        "GetRoleTemplateVersion": _DELEGATED,
        "SendDelegationToken": _DELEGATED,
        "*OutboundWebIdentityFederation*": _OUTBOUND,
        "*ServiceLinkedRole*": "services here act by the roles that they are given, and have none of their own",
        "*eAccountAlias": "there is no sign-in address that an alias would be part of",
        "*eAccountPasswordPolicy": "AWS's default password policy holds for every account",
        "*AccountProperties": _NO_PROPERTIES,
        "SetSecurityTokenServicePreferences": _NO_PROPERTIES,
        "*ServiceLastAccessedDetails*": _RIGHTS_USED,
        "GetHumanReadableSummary": _RIGHTS_USED,
        "ListPoliciesGrantingServiceAccess": _RIGHTS_USED,
        "*CredentialReport": _TELLS_THE_SAME,
    },
    "rds": {
        "CreateDBInstanceReadReplica": "a local server has no replica; one that runs already is registered by `turnlock databases add`",
        "DescribeAccountAttributes": "AWS's quotas; the limits here are in docs/compatibility.md",
        "DescribeEvents": _EVENTS,
        "DescribeValidDBInstanceModifications": "storage and processors are the machine's, and are not modified",
        "PromoteReadReplica*": _NO_REPLICA,
        "RebootDBCluster": "members are restarted one by one",
        "RebootDBInstance": "not yet: a local server is restarted when it ends",
        "RestoreDB*FromS3": _NO_BACKUPS,
        "RestoreDB*ToPointInTime": _NO_BACKUPS,
        "StartDBCluster": "members are started one by one",
        "StartDBInstance": _ALWAYS_THERE,
        "StopDBCluster": "members are stopped one by one",
        "StopDBInstance": _ALWAYS_THERE,
        "SwitchoverReadReplica": _NO_REPLICA,
        "*ActivityStream*": "activity streams go to Kinesis, which is not served",
        "*AutomatedBackup*": "no backups are made: a local server is for work that can be lost",
        "*Backtrack*": "Aurora's own storage, which no server here has",
        "*BlueGreenDeployment*": "blue/green deployments need more than one server for each instance",
        "*CapacityReservation*": "there is no capacity to reserve on one's own machine",
        "*Certificate*": "each local server has one certificate for its life; an authority is not chosen",
        "*ClusterCapacity": _SERVERLESS,
        "*CustomDBEngineVersion": "engines are the machine's own programs",
        "*DBClusterEndpoint*": "custom endpoints need a proxy in front of the members",
        "*DBLogFile*": "a local server's log is a file in its directory",
        "*DBMajorEngineVersion*": "engines are the machine's own programs, one version each",
        "*DBClusterParameter*": _PARAMETERS,
        "*DBParameter*": _PARAMETERS,
        "*DBProx*": "there is no proxy in front of the servers",
        "*DBRecommendation*": "nothing watches the servers for advice",
        "*DBShardGroup*": "Aurora Limitless is not served",
        "*EngineDefault*": _PARAMETERS,
        "*EventCategories": _EVENTS,
        "*EventSubscription*": _EVENTS,
        "*ExportTask*": "there are no snapshots to export",
        "Failover*": "a cluster here has one writer, whose endpoint does not move",
        "*GlobalCluster": "clusters over more than one Region need AWS's replication",
        "*HttpEndpoint": "the Data API is a service of its own, which is not served",
        "*Integration*": "zero-ETL integrations go to Redshift, which is not served",
        "*OptionGroup*": "options are the server's own configuration, which RDS would overwrite",
        "*PendingMaintenance*": "nothing is maintained by itself: a new program is used after a restart",
        "*ReservedDBInstances*": "there is nothing to pay for",
        "*Role*": "a database server here calls no AWS service",
        "*SecurityGroup*": "a local server listens on loopback only; there is no network to guard",
        "*ServerlessV2*": _SERVERLESS,
        "*Snapshot*": "no snapshots are made: a local server is for work that can be lost",
        "*SourceIdentifier*": _EVENTS,
        "*SourceRegions": "there is no replication between Regions",
        "*SubnetGroup*": "a local server listens on loopback only; there are no subnets",
        "*TenantDatabase*": "tenant databases are Oracle's and SQL Server's, which are not served",
    },
    "lambda": {
        "*CapacityProvider*": _MACHINE,
        "*CodeSigningConfig*": "packages are not signed; what is kept is named by its hash under a MAC",
        "*DurableExecution*": "durable executions keep their progress in a service that is not served",
        "*EventInvokeConfig*": "asynchronous events are tried three times, as on Lambda where nothing is configured",
        "*EventSourceMapping*": "there are no streams or queues to read from",
        "*FunctionScalingConfig": _MACHINE,
        "*FunctionUrlConfig*": "functions are called through Invoke only",
        "*Layer*": "what a layer holds goes into the package",
        "*ProvisionedConcurrency*": "processes are kept warm after each use, and are not started before",
        "*RecursionConfig": "loops through other services cannot be told here",
        "*RuntimeManagementConfig": "runtimes are the machine's own programs",
        "DeleteResourcePolicy": _POLICY_WRITTEN,
        "GetResourcePolicy": "GetPolicy reads the policy",
        "InvokeAsync": "deprecated since 2014: Invoke with InvocationType=Event does it",
        "InvokeWithResponseStream": "answers are not streamed",
        "PutResourcePolicy": _POLICY_WRITTEN,
    },
    "logs": {
        "*": "what functions wrote is kept here: groups have a retention and tags, and are read by what aws logs tail needs"
    },
}
"""By service: a pattern of operations' names (as `fnmatch` reads it) → why they have no handler.

Some of Lambda's and CloudWatch Logs' patterns fit operations that have one: those that are asked for before others."""


def not_served(service: str) -> Mapping[str, str]:
    """Return the operations of botocore's model `service` that some pattern fits, each with its reason."""
    found = {name: _reason(service, name) for name in Contract.load(service).operations}
    return MappingProxyType({name: reason for name, reason in found.items() if reason is not None})


def _reason(service: str, name: str) -> str | None:
    return next((why for pattern, why in PATTERNS[service].items() if fnmatchcase(name, pattern)), None)
