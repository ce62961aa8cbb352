"""DB clusters: a name, a master user and endpoints over member instances."""

from __future__ import annotations

from turnlock.core.action import Action, Answer, Request, no_resource
from turnlock.core.call import Call
from turnlock.errors import (
    DBClusterAlreadyExistsFault,
    InvalidDBClusterStateFault,
    InvalidParameterCombination,
)
from turnlock.rds import master, store
from turnlock.rds.describing import describe_db_clusters, describe_global_clusters, described
from turnlock.rds.instances import change_master, new_resource_id
from turnlock.rds.lookup import TAGS, require_cluster, subject_of
from turnlock.rds.model import (
    DbResource,
    Kind,
    Status,
    check_dbname,
    check_endpoint,
    check_username,
    engine_rules,
    kept_settings,
    new_identifier,
)
from turnlock.storage import Unit


def create_db_cluster(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateDBCluster: a cluster without members; its endpoint is that of the first instance made in it."""
    return _insert(call, unit, _new_cluster(call, request, unit), request)


def register_db_cluster(call: Call, request: Request, unit: Unit) -> Answer:
    """Register a DB cluster that somebody else runs: CreateDBCluster's request with its endpoints beside."""
    cluster = _new_cluster(call, request, unit)
    endpoint, reader = request["Endpoint"], request.get("ReaderEndpoint")
    cluster = cluster.evolve(
        host=check_endpoint(endpoint["Address"]),
        reader_host=reader if reader is None else check_endpoint(reader),
        port=endpoint.get("Port", engine_rules(cluster.engine).port),
    )
    return _insert(call, unit, cluster, request)


def modify_db_cluster(call: Call, request: Request, unit: Unit) -> Answer:
    """ModifyDBCluster: settings that are only kept, and who keeps the master password.

    A local member is given a new password by its node; of a registered cluster the new password is only noted.
    """
    cluster = require_cluster(call, unit, request["DBClusterIdentifier"])
    master.check_choice(request, required=False)
    changed = cluster.evolve(settings={**cluster.settings, **kept_settings(request)})
    changed = change_master(call, unit, changed, request)
    store.save(unit, changed)
    if (changed.sealed_password, changed.secret_arn) != (cluster.sealed_password, cluster.secret_arn):
        master.reset_members(unit, changed)
    return {"DBCluster": described(unit, changed)}


def delete_db_cluster(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteDBCluster: forget it, once it has no members."""
    cluster = require_cluster(call, unit, request["DBClusterIdentifier"])
    if cluster.protected:
        raise InvalidParameterCombination(
            "Cannot delete protected Cluster, please disable deletion protection and try again."
        )
    members = store.related(unit, cluster.account_id, cluster.region, [cluster.identifier])
    if any(one.cluster_id == cluster.identifier for one in members):
        raise InvalidDBClusterStateFault("Cluster cannot be deleted, it still contains DB instances.")
    master.forget_secret(unit, cluster)
    going = cluster.evolve(status=Status.DELETING, secret_arn=None)
    answer = {"DBCluster": described(unit, going)}
    store.remove(unit, going)
    return answer


def _new_cluster(call: Call, request: Request, unit: Unit) -> DbResource:
    identifier = new_identifier(request["DBClusterIdentifier"], "DBClusterIdentifier")
    engine = request["Engine"]
    engine_rules(engine)
    master.check_choice(request, required=True)
    return DbResource(
        account_id=call.account_id,
        region=call.region,
        kind=Kind.CLUSTER,
        identifier=identifier,
        resource_id=new_resource_id(unit, "cluster"),
        engine=engine,
        engine_version=request.get("EngineVersion"),
        status=Status.AVAILABLE,
        master_username=check_username(engine, request.get("MasterUsername")),
        dbname=check_dbname(engine, request.get("DatabaseName")),
        port=request.get("Port"),
        created_at=unit.now,
        settings=kept_settings(request),
    )


def _insert(call: Call, unit: Unit, cluster: DbResource, request: Request) -> Answer:
    if store.find(unit, cluster.account_id, cluster.region, Kind.CLUSTER, cluster.identifier) is not None:
        raise DBClusterAlreadyExistsFault
    cluster = master.with_password(call, unit, cluster, request)
    if not store.insert(unit, cluster, TAGS.read(request)):
        raise DBClusterAlreadyExistsFault
    return {"DBCluster": described(unit, cluster)}


_SUBJECT = subject_of(Kind.CLUSTER)

ACTIONS = (
    Action(name="CreateDBCluster", handler=create_db_cluster, subject=_SUBJECT, mutates=True),
    Action(name="DeleteDBCluster", handler=delete_db_cluster, subject=_SUBJECT, mutates=True),
    Action(name="DescribeDBClusters", handler=describe_db_clusters, subject=_SUBJECT, mutates=False),
    Action(
        name="DescribeGlobalClusters", handler=describe_global_clusters, subject=no_resource, mutates=False
    ),
    Action(name="ModifyDBCluster", handler=modify_db_cluster, subject=_SUBJECT, mutates=True),
)

REGISTER = Action(name="CreateDBCluster", handler=register_db_cluster, subject=_SUBJECT, mutates=True)
"""What `turnlock databases add --cluster` passes through the gate."""
