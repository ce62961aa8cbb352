"""A registered resource in the shapes of RDS: DBInstance and DBCluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from turnlock.rds.model import DbResource, Status

NO_WINDOW = "sun:00:00-sun:00:30"
"""What clients that insist on a maintenance window are shown; nothing happens in it."""

DEFAULT_GROUP = "default"
"""The subnet group of what was given none, as on AWS."""


def instance_answer(
    instance: DbResource, tags: Mapping[str, str], related: Sequence[DbResource]
) -> dict[str, Any]:
    """Return an instance as DescribeDBInstances shows it; `related` are the instances among which its replicas are."""
    settings = instance.settings
    return {
        "DBInstanceIdentifier": instance.identifier,
        "DBInstanceArn": instance.arn,
        "DbiResourceId": instance.resource_id,
        "DBInstanceClass": settings.get("DBInstanceClass"),
        "Engine": instance.engine,
        "EngineVersion": instance.engine_version,
        "DBInstanceStatus": instance.status.value,
        "StatusInfos": _status_infos(instance),
        "MasterUsername": instance.master_username,
        "MasterUserSecret": _master_secret(instance),
        "DBName": instance.dbname,
        "Endpoint": None if instance.host is None else {"Address": instance.host, "Port": instance.port},
        "DbInstancePort": 0,
        "InstanceCreateTime": instance.created_at,
        "DBClusterIdentifier": instance.cluster_id,
        "ReadReplicaSourceDBInstanceIdentifier": instance.source_id,
        "ReadReplicaDBInstanceIdentifiers": [
            one.identifier for one in related if one.source_id == instance.identifier
        ],
        "AllocatedStorage": settings.get("AllocatedStorage", 0),
        "AutoMinorVersionUpgrade": settings.get("AutoMinorVersionUpgrade", False),
        "AvailabilityZone": settings.get("AvailabilityZone", f"{instance.region}a"),
        "CopyTagsToSnapshot": settings.get("CopyTagsToSnapshot", False),
        "DeletionProtection": instance.protected,
        "Iops": settings.get("Iops"),
        "LicenseModel": settings.get("LicenseModel"),
        "MaxAllocatedStorage": settings.get("MaxAllocatedStorage"),
        "PreferredBackupWindow": settings.get("PreferredBackupWindow", "00:00-00:30"),
        "PreferredMaintenanceWindow": settings.get("PreferredMaintenanceWindow", NO_WINDOW),
        "PromotionTier": settings.get("PromotionTier"),
        "StorageThroughput": settings.get("StorageThroughput"),
        "StorageType": settings.get("StorageType", "standard"),
        "TagList": tag_list(tags),
        **_NOT_DONE,
        "BackupRetentionPeriod": settings.get("BackupRetentionPeriod", 0),
        "MultiAZ": False,
        "PubliclyAccessible": False,
        "PerformanceInsightsEnabled": False,
        "MonitoringInterval": 0,
        **_instance_groups(settings),
    }


def cluster_answer(
    cluster: DbResource, tags: Mapping[str, str], related: Sequence[DbResource]
) -> dict[str, Any]:
    """Return a cluster as DescribeDBClusters shows it; `related` are the instances among which its members are."""
    members = [one for one in related if one.cluster_id == cluster.identifier]
    writer = next((one for one in members if one.writer), None)
    endpoint = cluster if cluster.host is not None or writer is None else writer
    settings = cluster.settings
    return {
        "DBClusterIdentifier": cluster.identifier,
        "DBClusterArn": cluster.arn,
        "DbClusterResourceId": cluster.resource_id,
        "Engine": cluster.engine,
        "EngineVersion": cluster.engine_version,
        "EngineMode": "provisioned",
        "Status": cluster.status.value,
        "MasterUsername": cluster.master_username,
        "MasterUserSecret": _master_secret(cluster),
        "DatabaseName": cluster.dbname,
        "Endpoint": endpoint.host,
        "ReaderEndpoint": cluster.reader_host or endpoint.host,
        "Port": endpoint.port,
        "ClusterCreateTime": cluster.created_at,
        "DBClusterMembers": [
            {
                "DBInstanceIdentifier": one.identifier,
                "IsClusterWriter": one.writer,
                "DBClusterParameterGroupStatus": "in-sync",
                "PromotionTier": one.settings.get("PromotionTier", 1),
            }
            for one in members
        ],
        "AllocatedStorage": settings.get("AllocatedStorage", 1),
        "AutoMinorVersionUpgrade": settings.get("AutoMinorVersionUpgrade", False),
        "AvailabilityZones": [f"{cluster.region}a"],
        "CopyTagsToSnapshot": settings.get("CopyTagsToSnapshot", False),
        "DeletionProtection": cluster.protected,
        "PreferredBackupWindow": settings.get("PreferredBackupWindow", "00:00-00:30"),
        "PreferredMaintenanceWindow": settings.get("PreferredMaintenanceWindow", NO_WINDOW),
        "TagList": tag_list(tags),
        **_NOT_DONE,
        "BackupRetentionPeriod": settings.get("BackupRetentionPeriod", 1),
        "MultiAZ": len(members) > 1,
        "HttpEndpointEnabled": False,
        "VpcSecurityGroups": _security_groups(settings),
        "DBSubnetGroup": settings.get("DBSubnetGroupName", DEFAULT_GROUP),
        "DBClusterParameterGroup": settings.get("DBClusterParameterGroupName"),
        "DBClusterOptionGroupMemberships": [
            {"DBClusterOptionGroupName": name, "Status": "in-sync"}
            for name in _names(settings, "OptionGroupName")
        ],
    }


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as RDS lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


_NOT_DONE: Mapping[str, Any] = {
    "IAMDatabaseAuthenticationEnabled": False,
    "StorageEncrypted": False,
}
"""Members that clients read without asking whether they are there, with what is true here."""


def _instance_groups(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the groups that an instance was said to be in, in force as soon as they were said."""
    return {
        "VpcSecurityGroups": _security_groups(settings),
        "DBSecurityGroups": [
            {"DBSecurityGroupName": name, "Status": "active"} for name in settings.get("DBSecurityGroups", ())
        ],
        "DBParameterGroups": [
            {"DBParameterGroupName": name, "ParameterApplyStatus": "in-sync"}
            for name in _names(settings, "DBParameterGroupName")
        ],
        "OptionGroupMemberships": [
            {"OptionGroupName": name, "Status": "in-sync"} for name in _names(settings, "OptionGroupName")
        ],
        # Ansible's rds_instance reads the name without asking whether there is one; on AWS there always is.
        "DBSubnetGroup": {
            "DBSubnetGroupName": settings.get("DBSubnetGroupName", DEFAULT_GROUP),
            "SubnetGroupStatus": "Complete",
            "Subnets": [],
        },
    }


def _security_groups(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"VpcSecurityGroupId": name, "Status": "active"} for name in settings.get("VpcSecurityGroupIds", ())
    ]


def _names(settings: Mapping[str, Any], member: str) -> list[str]:
    return [settings[member]] if member in settings else []


def _master_secret(resource: DbResource) -> dict[str, str] | None:
    if resource.secret_arn is None:
        return None
    status = "creating" if resource.status is Status.CREATING else "active"
    return {"SecretArn": resource.secret_arn, "SecretStatus": status}


def _status_infos(instance: DbResource) -> list[dict[str, Any]]:
    if instance.status_message is None:
        return []
    return [
        {
            "StatusType": "server",
            "Normal": False,
            "Status": instance.status.value,
            "Message": instance.status_message,
        }
    ]
