"""The registry of DB instances and clusters: registering, describing, changing, forgetting."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from tests.calling import ACCOUNT, REGION, refusal
from tests.rds.calling import MASTER, RdsClient, cluster, identifiers, instance
from turnlock.accounts import root_principal
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Session
from turnlock.errors import SealBroken
from turnlock.rds.tables import database_tags, databases

ARN = f"arn:aws:rds:{REGION}:{ACCOUNT}:db:shop"
CLUSTER_ARN = f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:ring"


def described(rds: RdsClient, name: str = "shop") -> dict[str, Any]:
    (one,) = rds("DescribeDBInstances", DBInstanceIdentifier=name)["DBInstances"]
    found: dict[str, Any] = one
    return found


def test_a_registered_instance_is_described_as_it_runs(rds: RdsClient) -> None:
    made = rds.register(**instance("Shop", EngineVersion="16.4", DBName="orders"))
    assert made == described(rds)
    assert (made["DBInstanceIdentifier"], made["DBInstanceArn"]) == ("shop", ARN)
    assert made["Endpoint"] == {"Address": "shop.example.com", "Port": 5433}
    assert (made["Engine"], made["EngineVersion"], made["DBName"]) == ("postgres", "16.4", "orders")
    assert (made["DBInstanceStatus"], made["MasterUsername"]) == ("available", "master")
    assert made["DbiResourceId"].startswith("db-")
    assert "first-Password-1" not in str(made)


def test_the_password_is_in_no_answer_no_record_and_not_readable_in_the_store(rds: RdsClient) -> None:
    rds.register(**instance())
    described(rds)
    assert not any(b"first-Password-1" in answer for answer in rds.answers)
    assert "first-Password-1" not in str(rds.records)
    (row,) = rds.database.read(lambda unit: unit.connection.execute(databases.select()).all())
    assert b"first-Password-1" not in row.sealed_password


@pytest.mark.parametrize("name", ["shop", "SHOP", ARN])
def test_an_instance_is_found_by_its_identifier_in_any_case_or_its_arn(rds: RdsClient, name: str) -> None:
    rds.register(**instance())
    assert described(rds, name)["DBInstanceIdentifier"] == "shop"


@pytest.mark.parametrize(
    "name",
    [
        "other",
        ARN.replace(REGION, "us-east-1"),
        ARN.replace(ACCOUNT, "000000000001"),
        ARN.replace(":db:", ":cluster:"),
        "arn:nonsense",
    ],
)
def test_what_is_not_there_is_not_found(rds: RdsClient, name: str) -> None:
    rds.register(**instance())
    code, _ = refusal(lambda: rds("DescribeDBInstances", DBInstanceIdentifier=name))
    assert code in {"DBInstanceNotFoundFault", "AccessDeniedException"}
    assert (code == "AccessDeniedException") == ("000000000001" in name)


def test_the_wire_says_what_rds_says(rds: RdsClient) -> None:
    refusal(lambda: rds("DescribeDBInstances", DBInstanceIdentifier="other"))
    assert b"<Code>DBInstanceNotFound</Code><Message>DBInstance other not found." in rds.answers[-1]
    refusal(lambda: rds("DescribeDBClusters", DBClusterIdentifier="other"))
    assert b"<Code>DBClusterNotFoundFault</Code>" in rds.answers[-1]


def test_a_name_is_taken_once_in_its_account_and_region(rds: RdsClient) -> None:
    rds.register(**instance())
    assert refusal(lambda: rds.register(**instance("SHOP"))) == (
        "DBInstanceAlreadyExistsFault",
        "DB Instance already exists",
    )
    rds.elsewhere(region=Region("us-east-1")).register(**instance())
    other = AccountId("210987654321")
    rds.elsewhere(account_id=other, principal=root_principal(other)).register(**instance())
    rds.register_cluster(**cluster("shop"))
    assert identifiers(rds("DescribeDBInstances")) == ["shop"]


@pytest.mark.parametrize("name", ["", "1shop", "shop-", "sh--op", "sh_op", "shöp", "a" * 64])
def test_an_identifier_must_be_one(rds: RdsClient, name: str) -> None:
    assert refusal(lambda: rds.register(**instance(name)))[0] == "InvalidParameterValue"


@pytest.mark.parametrize(
    "changes",
    [
        {"MasterUserPassword": "short"},
        {"MasterUserPassword": "has a space in it"},
        {"MasterUserPassword": 'has"quote"in-it'},
        {"MasterUsername": "rdsadmin"},
        {"MasterUsername": "1abc"},
        {"MasterUsername": None},
        {"MasterUserPassword": None},
        {"Engine": "oracle-ee"},
        {"DBName": "1;drop"},
        {"DBName": "template1"},
        {"DBName": "rdsadmin"},
        {"DBName": "Mysql", "Engine": "mariadb"},
    ],
)
def test_what_no_instance_can_have_is_refused(rds: RdsClient, changes: dict[str, Any]) -> None:
    request = {name: value for name, value in instance(**changes).items() if value is not None}
    code, message = refusal(lambda: rds.register(**request))
    assert code == "InvalidParameterValue"
    assert "short" not in message.replace("shorter", "")


@pytest.mark.parametrize(
    "changes",
    [
        {"MultiAZ": True},
        {"StorageEncrypted": True},
        {"BackupRetentionPeriod": 7},
        {"KmsKeyId": "alias/x"},
        {"Domain": "d-1"},
    ],
)
def test_a_promise_that_would_not_be_kept_is_refused(rds: RdsClient, changes: dict[str, Any]) -> None:
    code, message = refusal(lambda: rds.register(**instance(**changes)))
    assert (code, next(iter(changes)) in message) == ("InvalidParameterCombination", True)


def test_settings_that_size_nothing_are_kept_and_shown(rds: RdsClient) -> None:
    rds.register(**instance(AllocatedStorage=20, StorageType="gp3", MultiAZ=False))
    assert (described(rds)["AllocatedStorage"], described(rds)["StorageType"]) == (20, "gp3")
    rds("ModifyDBInstance", DBInstanceIdentifier="shop", AllocatedStorage=40)
    assert (described(rds)["AllocatedStorage"], described(rds)["StorageType"]) == (40, "gp3")


GROUPS: dict[str, Any] = {
    "VpcSecurityGroupIds": ["sg-1", "sg-2"],
    "DBSubnetGroupName": "private",
    "OptionGroupName": "options",
}
SECURITY_GROUPS = [{"VpcSecurityGroupId": name, "Status": "active"} for name in GROUPS["VpcSecurityGroupIds"]]


def test_the_groups_that_an_instance_was_given_are_shown_so_that_tools_find_nothing_to_change(
    rds: RdsClient,
) -> None:
    # Ansible's rds_instance reads DBSubnetGroup without asking whether it is there.
    assert rds.register(**instance("plain"))["DBSubnetGroup"]["DBSubnetGroupName"] == "default"
    rds.register(**instance())
    rds("ModifyDBInstance", DBInstanceIdentifier="shop", **GROUPS, DBParameterGroupName="parameters")
    shown = described(rds)
    assert shown["VpcSecurityGroups"] == SECURITY_GROUPS
    assert shown["DBSubnetGroup"]["DBSubnetGroupName"] == "private"
    assert [one["OptionGroupName"] for one in shown["OptionGroupMemberships"]] == ["options"]
    assert [one["DBParameterGroupName"] for one in shown["DBParameterGroups"]] == ["parameters"]


def test_the_groups_that_a_cluster_was_given_are_shown(rds: RdsClient) -> None:
    rds.register_cluster(**cluster())
    given = {**GROUPS, "DBClusterParameterGroupName": "parameters"}
    del given["DBSubnetGroupName"]  # nobody moves a cluster into another one
    made = rds("ModifyDBCluster", DBClusterIdentifier="ring", **given)["DBCluster"]
    assert made["VpcSecurityGroups"] == SECURITY_GROUPS
    assert (made["DBSubnetGroup"], made["DBClusterParameterGroup"]) == ("default", "parameters")
    assert [one["DBClusterOptionGroupName"] for one in made["DBClusterOptionGroupMemberships"]] == ["options"]


def test_the_least_time_that_a_cluster_keeps_backups_is_taken_and_shown(rds: RdsClient) -> None:
    rds.register(**instance(BackupRetentionPeriod=1))
    assert described(rds)["BackupRetentionPeriod"] == 1
    rds("ModifyDBInstance", DBInstanceIdentifier="shop", BackupRetentionPeriod=0)
    assert described(rds)["BackupRetentionPeriod"] == 0
    for name, given, shown in (("ring", {}, 1), ("one", {"BackupRetentionPeriod": 1}, 1)):
        request = {"DBClusterIdentifier": name, "Engine": "aurora-postgresql", **MASTER, **given}
        assert rds("CreateDBCluster", **request)["DBCluster"]["BackupRetentionPeriod"] == shown


def test_an_empty_text_is_an_absent_one(rds: RdsClient) -> None:
    request = {"DBClusterIdentifier": "ring", "Engine": "aurora-postgresql", **MASTER, "DatabaseName": ""}
    assert rds("CreateDBCluster", **request)["DBCluster"]["DatabaseName"] == "postgres"
    rds.register(**instance())
    rds("ModifyDBInstance", DBInstanceIdentifier="shop", MasterUserPassword="", StorageType="")
    assert described(rds)["StorageType"] == "standard"
    assert identifiers(rds("DescribeDBInstances", DBInstanceIdentifier="", Marker="")) == ["shop"]
    blank = {**request, "DBClusterIdentifier": "other", "MasterUserPassword": ""}
    assert refusal(lambda: rds("CreateDBCluster", **blank))[0] == "InvalidParameterValue"
    assert refusal(lambda: rds("DeleteDBCluster", DBClusterIdentifier=""))[0] == "DBClusterNotFoundFault"


def test_there_are_no_global_clusters(rds: RdsClient) -> None:
    assert rds("DescribeGlobalClusters") == {"GlobalClusters": []}
    named = refusal(lambda: rds("DescribeGlobalClusters", GlobalClusterIdentifier="world"))
    assert named[0] == "GlobalClusterNotFoundFault"


def test_replicas_and_members_are_linked_as_the_alternating_strategy_reads_them(rds: RdsClient) -> None:
    rds.register(**instance())
    replica = {
        "DBInstanceIdentifier": "shop-ro",
        "DBInstanceClass": "db.t4g.micro",
        "Engine": "postgres",
        "Endpoint": {"Address": "shop-ro.example.com"},
        "ReadReplicaSourceDBInstanceIdentifier": "shop",
    }
    assert rds.register(**replica)["ReadReplicaSourceDBInstanceIdentifier"] == "shop"
    assert described(rds)["ReadReplicaDBInstanceIdentifiers"] == ["shop-ro"]
    rds.register_cluster(**cluster())
    for name, writes in (("ring-1", True), ("ring-2", False)):
        member = {**replica, "DBInstanceIdentifier": name, "Engine": "aurora-postgresql"}
        del member["ReadReplicaSourceDBInstanceIdentifier"]
        rds.register(**member, DBClusterIdentifier="ring", IsClusterWriter=writes)
    (ring,) = rds("DescribeDBClusters")["DBClusters"]
    assert (ring["Endpoint"], ring["ReaderEndpoint"], ring["Port"]) == (
        "ring.example.com",
        "ring-ro.example.com",
        5432,
    )
    assert {one["DBInstanceIdentifier"]: one["IsClusterWriter"] for one in ring["DBClusterMembers"]} == {
        "ring-1": True,
        "ring-2": False,
    }
    assert described(rds, "ring-1")["DBClusterIdentifier"] == "ring"
    assert described(rds, "ring-1")["MasterUsername"] == "master"


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("engine", ["mariadb"], ["books"]),
        ("engine", ["mariadb", "postgres"], ["books", "shop"]),
        ("db-instance-id", ["SHOP", "absent"], ["shop"]),
        ("db-instance-id", [ARN], ["shop"]),
        ("db-cluster-id", ["ring"], ["ring-1"]),
        ("db-cluster-id", [CLUSTER_ARN], ["ring-1"]),
        ("dbi-resource-id", ["db-ABSENT"], []),
    ],
)
def test_filters_of_instances(rds: RdsClient, name: str, values: list[str], expected: list[str]) -> None:
    rds.register(**instance())
    rds.register(**instance("books", Engine="mariadb"))
    rds.register_cluster(**cluster())
    member = {
        key: value
        for key, value in instance("ring-1", Engine="aurora-postgresql").items()
        if key not in MASTER
    }
    rds.register(**member, DBClusterIdentifier="ring")
    found = rds("DescribeDBInstances", Filters=[{"Name": name, "Values": values}])
    assert identifiers(found) == expected


def test_filters_must_all_hold_and_be_known(rds: RdsClient) -> None:
    rds.register(**instance())
    rds.register_cluster(**cluster())
    engine, other = (
        {"Name": "engine", "Values": ["postgres"]},
        {"Name": "db-instance-id", "Values": ["other"]},
    )
    assert identifiers(rds("DescribeDBInstances", Filters=[engine])) == ["shop"]
    assert identifiers(rds("DescribeDBInstances", Filters=[engine, other])) == []
    assert identifiers(rds("DescribeDBInstances", DBInstanceIdentifier="shop", Filters=[other])) == []
    resource = rds("DescribeDBClusters")["DBClusters"][0]["DbClusterResourceId"]
    by_resource = [{"Name": "db-cluster-resource-id", "Values": [resource]}]
    assert identifiers(rds("DescribeDBClusters", Filters=by_resource)) == ["ring"]
    unknown = [{"Name": "colour", "Values": ["red"]}]
    assert refusal(lambda: rds("DescribeDBInstances", Filters=unknown)) == (
        "InvalidParameterValue",
        "Unrecognized filter name: colour",
    )


def test_pages_hold_everything_once_and_a_marker_is_good_for_its_question(rds: RdsClient) -> None:
    names = [f"db{number:02}" for number in range(45)]
    for name in reversed(names):
        rds.register(**instance(name))
    seen: list[str] = []
    marker: dict[str, str] = {}
    for _ in range(3):
        found = rds("DescribeDBInstances", MaxRecords=20, **marker)
        seen += identifiers(found)
        marker = {"Marker": found["Marker"]} if "Marker" in found else {}
    assert (seen, marker) == (names, {})
    first = rds("DescribeDBInstances", MaxRecords=20)["Marker"]
    for question in (
        {"Marker": first[:-4]},
        {"Marker": first, "Filters": [{"Name": "engine", "Values": []}]},
    ):
        assert refusal(lambda: rds("DescribeDBInstances", **question))[0] == "InvalidParameterValue"  # noqa: B023
    for wrong in (19, 101):
        assert refusal(lambda: rds("DescribeDBInstances", MaxRecords=wrong))[0] == "InvalidParameterValue"  # noqa: B023


def test_deleting_a_registered_instance_forgets_it(rds: RdsClient) -> None:
    rds.register(**instance(DeletionProtection=True))
    assert refusal(lambda: rds("DeleteDBInstance", DBInstanceIdentifier="shop"))[0] == (
        "InvalidParameterCombination"
    )
    rds("ModifyDBInstance", DBInstanceIdentifier="shop", DeletionProtection=False)
    gone = rds("DeleteDBInstance", DBInstanceIdentifier="shop")["DBInstance"]
    assert gone["DBInstanceStatus"] == "deleting"
    assert identifiers(rds("DescribeDBInstances")) == []
    rds.register(**instance())  # its tags went too


def test_a_cluster_goes_only_without_members(rds: RdsClient) -> None:
    rds.register_cluster(**cluster())
    member = {
        key: value
        for key, value in instance("ring-1", Engine="aurora-postgresql").items()
        if key not in MASTER
    }
    rds.register(**member, DBClusterIdentifier="ring")
    assert refusal(lambda: rds("DeleteDBCluster", DBClusterIdentifier="ring"))[0] == (
        "InvalidDBClusterStateFault"
    )
    rds("DeleteDBInstance", DBInstanceIdentifier="ring-1")
    rds("DeleteDBCluster", DBClusterIdentifier="ring")
    assert rds("DescribeDBClusters")["DBClusters"] == []


def test_a_member_has_its_clusters_engine_and_master_user(rds: RdsClient) -> None:
    rds.register_cluster(**cluster())
    for changes in ({}, {"MasterUsername": None, "MasterUserPassword": None, "Engine": "postgres"}):
        request = {
            **instance("ring-1", Engine="aurora-postgresql", DBClusterIdentifier="ring"),
            **changes,
        }
        request = {name: value for name, value in request.items() if value is not None}
        assert refusal(lambda: rds.register(**request))[0] == "InvalidParameterCombination"  # noqa: B023


def test_tags_are_added_listed_and_removed_by_arn(rds: RdsClient) -> None:
    rds.register(**instance(Tags=[{"Key": "team", "Value": "red"}]))
    rds("AddTagsToResource", ResourceName=ARN, Tags=[{"Key": "team", "Value": "blue"}, {"Key": "a"}])
    listed = rds("ListTagsForResource", ResourceName=ARN)["TagList"]
    assert listed == [{"Key": "a", "Value": ""}, {"Key": "team", "Value": "blue"}]
    assert described(rds)["TagList"] == listed
    rds("RemoveTagsFromResource", ResourceName=ARN, TagKeys=["team", "absent"])
    assert rds("ListTagsForResource", ResourceName=ARN)["TagList"] == [{"Key": "a", "Value": ""}]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("shop", "InvalidParameterValue"),
        (f"arn:aws:rds:{REGION}:{ACCOUNT}:snapshot:x", "InvalidParameterValue"),
        (ARN.replace("shop", "other"), "DBInstanceNotFoundFault"),
        (CLUSTER_ARN, "DBClusterNotFoundFault"),
    ],
)
def test_tags_need_the_arn_of_what_is_there(rds: RdsClient, name: str, code: str) -> None:
    rds.register(**instance())
    assert refusal(lambda: rds("ListTagsForResource", ResourceName=name))[0] == code


@pytest.mark.parametrize("key", ["aws:x", "rds:x", "", "k" * 129])
def test_a_tag_that_no_resource_can_have_is_refused(rds: RdsClient, key: str) -> None:
    rds.register(**instance())
    tag = [{"Key": key, "Value": "v"}]
    assert refusal(lambda: rds("AddTagsToResource", ResourceName=ARN, Tags=tag))[0] == (
        "InvalidParameterValue"
    )


def test_at_most_fifty_tags(rds: RdsClient) -> None:
    rds.register(**instance(Tags=[{"Key": f"k{n}"} for n in range(50)]))
    rds("AddTagsToResource", ResourceName=ARN, Tags=[{"Key": "k1", "Value": "changed"}])
    more = [{"Key": "one more"}]
    assert refusal(lambda: rds("AddTagsToResource", ResourceName=ARN, Tags=more))[0] == (
        "InvalidParameterValue"
    )


def test_a_session_is_held_to_the_instance_that_its_policy_names(rds: RdsClient) -> None:
    rds.register(**instance())
    rds.register(**instance("other"))
    policy = (
        '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"rds:DescribeDBInstances",'
        f'"Resource":"{ARN}"}}}}'
    )
    narrowed = rds.elsewhere(session=Session(access_key_id="ASIAEXAMPLE", policy=policy))
    assert described(narrowed)["DBInstanceIdentifier"] == "shop"
    for question in ({"DBInstanceIdentifier": "other"}, {}):
        assert refusal(lambda: narrowed("DescribeDBInstances", **question))[0] == "AccessDeniedException"  # noqa: B023


@pytest.mark.parametrize(
    "changes", [{"host": "evil.example.com"}, {"port": 1}, {"engine": "mysql"}, {"master_username": "x"}]
)
def test_a_row_that_somebody_changed_in_the_store_is_an_alarm(
    rds: RdsClient, changes: dict[str, object]
) -> None:
    rds.register(**instance())
    rds.database.write(lambda unit: unit.connection.execute(update(databases).values(**changes)))
    with pytest.raises(SealBroken):
        rds.database.read(
            lambda unit: rds.service.passages["DescribeDBInstances"].action.handler(
                rds.call("DescribeDBInstances"), {}, unit
            )
        )
    assert refusal(lambda: rds("DescribeDBInstances"))[0] == "InternalServiceError"


def test_a_tag_that_somebody_changed_in_the_store_is_an_alarm(rds: RdsClient) -> None:
    rds.register(**instance(Tags=[{"Key": "team", "Value": "red"}]))
    forged = update(database_tags).values(tag_value="blue")
    rds.database.write(lambda unit: unit.connection.execute(forged))
    assert refusal(lambda: rds("ListTagsForResource", ResourceName=ARN))[0] == "InternalServiceError"
