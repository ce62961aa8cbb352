"""What of RDS's model this server does not do, each with the reason: nothing is left out in silence.

The model is large, and most of it is about things that do not exist here; a reason holds for all operations that are about
the same noun.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

BY_NOUN: Final[Mapping[str, str]] = {
    "ActivityStream": "activity streams go to Kinesis, which is not served",
    "AutomatedBackup": "no backups are made: a local server is for work that can be lost",
    "Backtrack": "Aurora's own storage, which no server here has",
    "BlueGreenDeployment": "blue/green deployments need more than one server for each instance",
    "CapacityReservation": "there is no capacity to reserve on one's own machine",
    "Certificate": "each local server has one certificate for its life; an authority is not chosen",
    "ClusterCapacity": "Aurora Serverless is not served",
    "CustomDBEngineVersion": "engines are the machine's own programs",
    "DBClusterEndpoint": "custom endpoints need a proxy in front of the members",
    "DBLogFile": "a local server's log is a file in its directory",
    "DBMajorEngineVersion": "engines are the machine's own programs, one version each",
    "DBClusterParameter": "parameters are the server's own configuration, which RDS would overwrite",
    "DBParameter": "parameters are the server's own configuration, which RDS would overwrite",
    "DBProx": "there is no proxy in front of the servers",
    "DBRecommendation": "nothing watches the servers for advice",
    "DBShardGroup": "Aurora Limitless is not served",
    "EngineDefault": "parameters are the server's own configuration, which RDS would overwrite",
    "EventCategor": "events are told by EventBridge and the trail",
    "EventSubscription": "events are told by EventBridge and the trail",
    "ExportTask": "there are no snapshots to export",
    "Failover": "a cluster here has one writer, whose endpoint does not move",
    "GlobalCluster": "clusters over more than one Region need AWS's replication",
    "HttpEndpoint": "the Data API is a service of its own, which is not served",
    "Integration": "zero-ETL integrations go to Redshift, which is not served",
    "OptionGroup": "options are the server's own configuration, which RDS would overwrite",
    "PendingMaintenance": "nothing is maintained by itself: a new program is used after a restart",
    "ReservedDBInstances": "there is nothing to pay for",
    "Role": "a database server here calls no AWS service",
    "SecurityGroup": "a local server listens on loopback only; there is no network to guard",
    "ServerlessV2": "Aurora Serverless is not served",
    "Snapshot": "no snapshots are made: a local server is for work that can be lost",
    "SourceIdentifier": "events are told by EventBridge and the trail",
    "SourceRegions": "there is no replication between Regions",
    "SubnetGroup": "a local server listens on loopback only; there are no subnets",
    "TenantDatabase": "tenant databases are Oracle's and SQL Server's, which are not served",
}
"""By a word in an operation's name."""

BY_NAME: Final[Mapping[str, str]] = {
    "CreateDBInstanceReadReplica": "a local server has no replica; one that runs already is registered by `turnlock databases add`",
    "DescribeAccountAttributes": "AWS's quotas; the limits here are in docs/compatibility.md",
    "DescribeEvents": "events are told by EventBridge and the trail",
    "DescribeValidDBInstanceModifications": "storage and processors are the machine's, and are not modified",
    "PromoteReadReplica": "a local server has no replica, and a registered one is promoted where it runs",
    "PromoteReadReplicaDBCluster": "a local server has no replica, and a registered one is promoted where it runs",
    "RebootDBCluster": "members are restarted one by one",
    "RebootDBInstance": "not yet: a local server is restarted when it ends",
    "RestoreDBClusterFromS3": "there are no backups to restore",
    "RestoreDBClusterToPointInTime": "there are no backups to restore",
    "RestoreDBInstanceFromS3": "there are no backups to restore",
    "RestoreDBInstanceToPointInTime": "there are no backups to restore",
    "StartDBCluster": "members are started one by one",
    "StartDBInstance": "not yet: a local server runs as long as it is there",
    "StopDBCluster": "members are stopped one by one",
    "StopDBInstance": "not yet: a local server runs as long as it is there",
    "SwitchoverReadReplica": "a local server has no replica, and a registered one is promoted where it runs",
}
"""Operations whose reason is theirs alone."""

DONE: Final = frozenset({"DescribeGlobalClusters"})
"""Operations that are answered although their noun is not served: with an empty list, which tools ask for."""


def reasons(operations: Iterable[str]) -> dict[str, str]:
    """Return, of these operations, those that are not done, each with its reason."""
    found: dict[str, str] = {}
    for name in operations:
        if name in DONE:
            continue
        reason = BY_NAME.get(name) or next((why for noun, why in BY_NOUN.items() if noun in name), None)
        if reason is not None:
            found[name] = reason
    return found
