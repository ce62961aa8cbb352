"""DB instances: made (started here, or registered where they run), changed, deleted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from turnlock.confinement import assess
from turnlock.core.action import Action, Answer, Request, of_request
from turnlock.core.call import Call
from turnlock.core.drawing import draw_text
from turnlock.errors import (
    ConfigurationError,
    DBInstanceAlreadyExistsFault,
    InstanceQuotaExceededFault,
    InsufficientDBInstanceCapacityFault,
    InvalidDBClusterStateFault,
    InvalidDBInstanceStateFault,
    InvalidParameterCombination,
)
from turnlock.local_servers import programs
from turnlock.rds import master, store
from turnlock.rds.changes import ServerWanted
from turnlock.rds.describing import describe_db_instances, described
from turnlock.rds.lookup import TAGS, require_cluster, require_instance, subject_of
from turnlock.rds.model import (
    INTERNAL_USER,
    MOST_LOCAL,
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

_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PORTS: Final = range(1150, 65_536)
"""Ports that an instance may ask for (API reference, CreateDBInstance, "Port")."""


def create_db_instance(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateDBInstance: a server of the engine is started on one of the nodes; the answer does not wait for it."""
    engine = request["Engine"]
    rules = engine_rules(engine)
    if rules.clustered and "DBClusterIdentifier" not in request:
        raise InvalidParameterCombination(f"{engine}: an instance of Aurora needs a DBClusterIdentifier.")
    instance = _new_instance(call, request, unit)
    if instance.port is not None and instance.port not in _PORTS:
        raise InvalidParameterCombination(f"Port must be from {_PORTS[0]} to {_PORTS[-1]}.")
    version = str(call.gate.prepared())
    _require_local(unit, instance, version, request.get("EngineVersion"))
    sealed = master.seal_password(unit, instance, master.new_password(unit), user=INTERNAL_USER)
    instance = instance.evolve(
        local=True,
        status=Status.CREATING,
        engine_version=version,
        writer=instance.cluster_id is not None,
        sealed_internal=sealed,
    )
    answer = _insert(call, unit, instance, request)
    unit.announce(ServerWanted())
    return answer


def register_db_instance(call: Call, request: Request, unit: Unit) -> Answer:
    """Register a DB instance that somebody else runs: CreateDBInstance's request with its Endpoint beside.

    With ReadReplicaSourceDBInstanceIdentifier it is that instance's replica, and its master user the source's.
    """
    instance = _new_instance(call, request, unit)
    endpoint = request["Endpoint"]
    source = request.get("ReadReplicaSourceDBInstanceIdentifier")
    if source is not None:
        source = require_instance(call, unit, source).identifier
    instance = instance.evolve(
        status=Status.AVAILABLE,
        engine_version=request.get("EngineVersion"),
        host=check_endpoint(endpoint["Address"]),
        port=endpoint.get("Port", engine_rules(instance.engine).port),
        source_id=source,
        writer=request.get("IsClusterWriter", False),
    )
    return _insert(call, unit, instance, request)


def modify_db_instance(call: Call, request: Request, unit: Unit) -> Answer:
    """ModifyDBInstance: settings that are only kept, and who keeps the master password.

    A local server is given a new password by its node; of a registered one the new password is only noted.
    """
    instance = require_instance(call, unit, request["DBInstanceIdentifier"])
    master.check_choice(request, required=False)
    _require_status(instance, Status.AVAILABLE, Status.FAILED)
    changed = instance.evolve(settings={**instance.settings, **kept_settings(request)})
    changed = change_master(call, unit, changed, request)
    store.save(unit, changed)
    return {"DBInstance": described(unit, changed)}


def change_master(call: Call, unit: Unit, resource: DbResource, request: Mapping[str, Any]) -> DbResource:
    """Return a resource with the change to its master password that a Modify request asks for."""
    managed = request.get("ManageMasterUserPassword")
    if request.get("RotateMasterUserPassword", False):
        master.rotate(call, unit, resource)
    if managed is False and resource.secret_arn is not None:
        if "MasterUserPassword" not in request:
            raise InvalidParameterCombination(
                "MasterUserPassword is needed to turn ManageMasterUserPassword off."
            )
        master.forget_secret(unit, resource)
        resource = resource.evolve(secret_arn=None)
    if resource.secret_arn is not None:
        if "MasterUserPassword" in request:
            raise InvalidParameterCombination(
                "You can't specify MasterUserPassword when ManageMasterUserPassword is turned on."
            )
        return resource
    changed = master.with_password(call, unit, resource, request)
    if changed is not resource and resource.local:
        changed = changed.evolve(status=Status.RESETTING)
        unit.announce(ServerWanted())
    return changed


def delete_db_instance(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteDBInstance: a local server is stopped and its files removed; a registered one is only forgotten.

    One that never was available has nothing to keep: its name is free at once, and what was begun of it is removed.
    """
    instance = require_instance(call, unit, request["DBInstanceIdentifier"])
    if instance.protected:
        raise InvalidParameterCombination(
            "Cannot delete protected DB Instance, please disable deletion protection and try again."
        )
    if instance.local and not request.get("SkipFinalSnapshot", False):
        raise InvalidParameterCombination(
            "FinalDBSnapshotIdentifier cannot be taken: this server makes no snapshots. Say SkipFinalSnapshot."
        )
    if instance.status is Status.DELETING:
        raise InvalidDBInstanceStateFault(f"Instance {instance.identifier} is already being deleted.")
    master.forget_secret(unit, instance)
    going = instance.evolve(status=Status.DELETING, secret_arn=None, status_message=None)
    answer = {"DBInstance": described(unit, going)}
    if instance.local and not (instance.status is Status.CREATING and instance.host is None):
        store.save(unit, going)
    else:
        store.remove(unit, going)
    if instance.local:
        unit.announce(ServerWanted())
    return answer


def new_resource_id(unit: Unit, prefix: str) -> str:
    """Return an id that no resource ever had, such as `db-ABCDEFGHIJKLMNOPQRSTUVWXYZ`."""
    return f"{prefix}-{draw_text(unit.entropy, _ID_ALPHABET, 26)}"


def _new_instance(call: Call, request: Request, unit: Unit) -> DbResource:
    """Return the instance that a request describes, a member of the cluster that it names."""
    identifier = new_identifier(request["DBInstanceIdentifier"], "DBInstanceIdentifier")
    engine = request["Engine"]
    engine_rules(engine)
    instance = DbResource(
        account_id=call.account_id,
        region=call.region,
        kind=Kind.INSTANCE,
        identifier=identifier,
        resource_id=new_resource_id(unit, "db"),
        engine=engine,
        status=Status.CREATING,
        port=request.get("Port"),
        created_at=unit.now,
        settings=kept_settings(request),
    )
    if "DBClusterIdentifier" in request:
        return _as_member(call, request, unit, instance)
    replica = "ReadReplicaSourceDBInstanceIdentifier" in request
    master.check_choice(request, required=not replica)
    username = request.get("MasterUsername")
    return instance.evolve(
        master_username=username if replica else check_username(engine, username),
        dbname=check_dbname(engine, request.get("DBName")),
    )


def _as_member(call: Call, request: Request, unit: Unit, instance: DbResource) -> DbResource:
    cluster = require_cluster(call, unit, request["DBClusterIdentifier"])
    given = {"MasterUsername", "MasterUserPassword", "ManageMasterUserPassword", "DBName"} & request.keys()
    if given:
        raise InvalidParameterCombination(f"{min(given)}: a member has its cluster's.")
    if cluster.engine != instance.engine:
        raise InvalidParameterCombination(
            f"The engine {instance.engine} of the instance is not that of the cluster, {cluster.engine}."
        )
    return instance.evolve(
        cluster_id=cluster.identifier, master_username=cluster.master_username, dbname=cluster.dbname
    )


def _prepare_local(allow_unconfined: bool, request: Request) -> str:
    """Return the version of the server that would be started; InsufficientDBInstanceCapacityFault when none can be, with the reason."""
    try:
        version = programs.version_of(request["Engine"])
        programs.require_driver(request["Engine"])
    except ConfigurationError as error:
        raise InsufficientDBInstanceCapacityFault(error.message) from None
    if not allow_unconfined and (reason := assess.missing()) is not None:
        raise InsufficientDBInstanceCapacityFault(
            f"This machine cannot confine a database server: {reason} Its operator can say --allow-unconfined-databases, or"
            " register a server that runs already with `turnlock databases add`."
        )
    return version


def _require_local(unit: Unit, instance: DbResource, found: str, version: str | None) -> None:
    """Raise unless this deployment, which has the version `found`, can start the instance's server."""
    if version is not None and not f"{found}.".startswith(f"{version}."):
        raise InvalidParameterCombination(
            f"Cannot find version {version} for {instance.engine}: this machine has {found}."
        )
    if store.count_local(unit) >= MOST_LOCAL:
        raise InstanceQuotaExceededFault(f"This server runs at most {MOST_LOCAL} DB instances.")
    if instance.cluster_id is not None:
        cluster = store.find(unit, instance.account_id, instance.region, Kind.CLUSTER, instance.cluster_id)
        members = store.related(unit, instance.account_id, instance.region, [instance.cluster_id])
        if cluster is None or cluster.host is not None or members:
            raise InvalidDBClusterStateFault(
                "A cluster has one server of this machine and no more, or servers that were registered."
            )


def _insert(call: Call, unit: Unit, instance: DbResource, request: Request) -> Answer:
    if store.find(unit, instance.account_id, instance.region, Kind.INSTANCE, instance.identifier) is not None:
        raise DBInstanceAlreadyExistsFault
    if instance.cluster_id is None:
        instance = master.with_password(call, unit, instance, request)
    if not store.insert(unit, instance, TAGS.read(request)):
        raise DBInstanceAlreadyExistsFault
    return {"DBInstance": described(unit, instance)}


def _require_status(instance: DbResource, *allowed: Status) -> None:
    if instance.status not in allowed:
        raise InvalidDBInstanceStateFault(
            f"Database instance is not in available state: it is {instance.status.value}."
        )


_SUBJECT = subject_of(Kind.INSTANCE)


def actions(*, allow_unconfined: bool) -> tuple[Action, ...]:
    """Return the actions. `allow_unconfined`: servers are made also where the machine cannot confine them."""
    create = Action(
        name="CreateDBInstance",
        handler=create_db_instance,
        subject=_SUBJECT,
        mutates=True,
        prepare=of_request(partial(_prepare_local, allow_unconfined)),
    )
    return (
        create,
        Action(name="DeleteDBInstance", handler=delete_db_instance, subject=_SUBJECT, mutates=True),
        Action(name="DescribeDBInstances", handler=describe_db_instances, subject=_SUBJECT, mutates=False),
        Action(name="ModifyDBInstance", handler=modify_db_instance, subject=_SUBJECT, mutates=True),
    )


REGISTER = Action(name="CreateDBInstance", handler=register_db_instance, subject=_SUBJECT, mutates=True)
"""What `turnlock databases add` passes through the gate: the same operation, of a server that runs already."""
