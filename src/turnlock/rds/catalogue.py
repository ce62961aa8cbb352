"""What CreateDBInstance can start here: DescribeDBEngineVersions and DescribeOrderableDBInstanceOptions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from turnlock.core.action import Action, Answer, Request, no_resource
from turnlock.core.call import Call
from turnlock.local_servers import versions
from turnlock.rds.model import engine_rules
from turnlock.storage import Unit

CLASSES: Final = ("db.t3.micro", "db.t4g.micro", "db.t4g.medium", "db.m6g.large", "db.r6g.large")
"""Classes that are shown to tools which choose from a list; any class is taken, and none changes anything."""


def describe_db_engine_versions(_call: Call, request: Request, _unit: Unit) -> Answer:
    """DescribeDBEngineVersions: the one version of each engine that this machine has; one page holds them all."""
    found = [
        {
            "Engine": engine,
            "EngineVersion": version,
            "MajorEngineVersion": version.split(".")[0],
            "DBParameterGroupFamily": f"{engine}{version.split('.')[0]}",
            "DBEngineDescription": engine,
            "DBEngineVersionDescription": f"{engine} {version}",
            "Status": "available",
            "SupportsReadReplica": False,
        }
        for engine, version in _asked(request)
    ]
    return {"DBEngineVersions": found}


def describe_orderable_db_instance_options(call: Call, request: Request, _unit: Unit) -> Answer:
    """DescribeOrderableDBInstanceOptions: the classes of CLASSES for an engine that this machine has."""
    engine_rules(request["Engine"])
    classes = [request["DBInstanceClass"]] if "DBInstanceClass" in request else CLASSES
    return {
        "OrderableDBInstanceOptions": [
            _option(call, engine, version, each) for engine, version in _asked(request) for each in classes
        ]
    }


def _asked(request: Request) -> Iterable[tuple[str, str]]:
    wanted = request.get("EngineVersion")
    for engine, version in versions().items():
        fits = wanted is None or f"{version}.".startswith(f"{wanted}.")
        if fits and request.get("Engine", engine) == engine:
            yield engine, version


def _option(call: Call, engine: str, version: str, instance_class: str) -> dict[str, Any]:
    return {
        "Engine": engine,
        "EngineVersion": version,
        "DBInstanceClass": instance_class,
        "AvailabilityZones": [{"Name": f"{call.region}a"}],
        "StorageType": "standard",
        "MultiAZCapable": False,
        "ReadReplicaCapable": False,
        "SupportsStorageEncryption": False,
        "SupportsIAMDatabaseAuthentication": False,
        "SupportsClusters": engine_rules(engine).clustered,
        "Vpc": False,
    }


ACTIONS = (
    Action(
        name="DescribeDBEngineVersions",
        handler=describe_db_engine_versions,
        subject=no_resource,
        mutates=False,
    ),
    Action(
        name="DescribeOrderableDBInstanceOptions",
        handler=describe_orderable_db_instance_options,
        subject=no_resource,
        mutates=False,
    ),
)
