"""`turnlock databases`: tell the registry of servers that run already."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TextIO

import click

from turnlock.cli import options, store_url
from turnlock.core.arn import AccountId, Region
from turnlock.shell import logs

_CLASS = "db.t4g.micro"
"""CreateDBInstance demands a class; it means nothing here."""


@click.group()
def databases() -> None:
    """DB instances and clusters that run somewhere already."""


@databases.command()
@click.argument("name")
@click.option(
    "--engine",
    required=True,
    help="The engine as RDS names it: postgres, mysql, mariadb, aurora-postgresql, aurora-mysql.",
)
@click.option("--engine-version", metavar="V", help="The engine's version, which is only shown.")
@click.option("--host", required=True, help="Where it is reached; a cluster: its writer endpoint.")
@click.option(
    "--port", type=click.IntRange(1, 65_535), help="The port that it listens at.  [default: the engine's]"
)
@click.option("--master-username", metavar="USER", help="The master user's name.")
@click.option(
    "--master-password-file",
    metavar="FILE",
    type=click.File("r"),
    help="A file that holds the master password; - reads it from standard input.",
)
@click.option(
    "--manage-master-user-password",
    is_flag=True,
    help="Keep it in a secret of RDS's own, rotated from now on.",
)
@click.option("--db-name", metavar="NAME", help="The first database.")
@click.option("--cluster", "is_cluster", is_flag=True, help="NAME is a DB cluster.")
@click.option("--reader-host", metavar="HOST", help="A cluster's reader endpoint.")
@click.option("--member-of", metavar="CLUSTER", help="NAME is a member of this cluster.")
@click.option("--writer", is_flag=True, help="NAME is its cluster's writer.")
@click.option("--replica-of", metavar="INSTANCE", help="NAME is a read replica of this instance.")
@options.region
@options.account_id
@options.data_dir
@store_url.database
@options.root_key
def add(
    name: str,
    is_cluster: bool,
    region: Region,
    account_id: AccountId,
    data_dir: Path,
    database: str | None,
    root_key: str,
    **given: Any,
) -> None:
    """Register NAME, so that DescribeDBInstances and DescribeDBClusters know it, and print its ARN."""
    from turnlock import app  # noqa: PLC0415 (heavy)
    from turnlock.rds import REGISTER_CLUSTER, REGISTER_INSTANCE  # noqa: PLC0415

    logs.configure()
    choice = options.root_key_choice(root_key, data_dir)
    action = REGISTER_CLUSTER if is_cluster else REGISTER_INSTANCE
    request = _cluster_request(name, given) if is_cluster else _instance_request(name, given)
    with app.existing_store(data_dir, database, "databases", choice) as store:
        answer = app.act_as_root(store, "rds", action, request, account_id=account_id, region=region)
    click.echo(answer["DBCluster"]["DBClusterArn"] if is_cluster else answer["DBInstance"]["DBInstanceArn"])


def _cluster_request(name: str, given: dict[str, Any]) -> dict[str, Any]:
    for option in ("member_of", "replica_of"):
        if given[option] is not None:
            raise click.UsageError(f"--{option.replace('_', '-')} goes with an instance, not with --cluster.")
    return _present(
        DBClusterIdentifier=name,
        DatabaseName=given["db_name"],
        ReaderEndpoint=given["reader_host"],
        **_common(given),
    )


def _instance_request(name: str, given: dict[str, Any]) -> dict[str, Any]:
    if given["reader_host"] is not None:
        raise click.UsageError("--reader-host goes with --cluster.")
    return _present(
        DBInstanceIdentifier=name,
        DBInstanceClass=_CLASS,
        DBName=given["db_name"],
        DBClusterIdentifier=given["member_of"],
        IsClusterWriter=given["writer"] or None,
        ReadReplicaSourceDBInstanceIdentifier=given["replica_of"],
        **_common(given),
    )


def _common(given: dict[str, Any]) -> dict[str, Any]:
    """Return what instances and clusters have in common; Endpoint is this command's own member."""
    return {
        "Engine": given["engine"],
        "EngineVersion": given["engine_version"],
        "Endpoint": _present(Address=given["host"], Port=given["port"]),
        "MasterUsername": given["master_username"],
        "MasterUserPassword": _password(given["master_password_file"]),
        "ManageMasterUserPassword": given["manage_master_user_password"] or None,
    }


def _password(file: TextIO | None) -> str | None:
    return None if file is None else file.readline().rstrip("\r\n")


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
