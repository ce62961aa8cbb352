"""Local servers are brought about as their rows say, by one process at a time, and never left behind."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.calling import ACCOUNT, REGION, refusal
from tests.rds.calling import MASTER, RdsClient, identifiers, instance
from tests.support import StorePlace
from turnlock.confinement import assess
from turnlock.errors import ConfigurationError
from turnlock.rds import Authorities, Provider, actions
from turnlock.rds.local.server import Master
from turnlock.rds.model import MOST_LOCAL
from turnlock.shell.admission import Service

CREATE = {"DBInstanceIdentifier": "shop", "DBInstanceClass": "db.t4g.micro", "Engine": "postgres"}


@dataclass(kw_only=True)
class FakeServer:
    """A server that is no process: what the provider does with one, in order."""

    directory: Path
    password: str
    asked_port: int | None
    confined: bool
    running: bool = False
    masters: list[Master] = field(default_factory=list)
    restated: list[str] = field(default_factory=list)
    fails: list[str] = field(default_factory=list)
    """Words with which the next starts fail."""
    meanwhile: Callable[[], object] = lambda: None
    """What happens while the master user is set."""

    @property
    def port(self) -> int:
        return self.asked_port or 50_001

    def start(self) -> None:
        if self.fails:
            raise ConfigurationError(self.fails.pop(0))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.running = True

    def stop(self) -> None:
        self.running = False

    def set_master(self, master: Master) -> None:
        self.masters.append(master)
        self.meanwhile()

    def restate_rights(self, username: str) -> None:
        assert self.running
        self.restated.append(username)


@dataclass(kw_only=True)
class Machine:
    """One data directory with the servers in it, and a clock for the back-off."""

    data_dir: Path
    made: list[FakeServer] = field(default_factory=list)
    now: float = 100.0
    first_fails: list[str] = field(default_factory=list)

    def make(self, directory: Path, password: str, port: int | None, *, confined: bool) -> FakeServer:
        server = FakeServer(
            directory=directory,
            password=password,
            asked_port=port,
            confined=confined,
            fails=self.first_fails,
        )
        self.made.append(server)
        return server

    def provider(self, rds: RdsClient, *, allow_unconfined: bool = False) -> Provider:
        return Provider(
            rds.database,
            self.data_dir,
            servers=dict.fromkeys(("postgres", "aurora-postgresql", "mariadb"), self.make),
            monotonic=lambda: self.now,
            allow_unconfined=allow_unconfined,
        )


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[EventDict]]:
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(data_dir=tmp_path)


@pytest.fixture
def provider(machine: Machine, rds: RdsClient) -> Iterator[Provider]:
    made = machine.provider(rds)
    yield made
    made.close()


def create(rds: RdsClient, **changes: Any) -> dict[str, Any]:
    answer: dict[str, Any] = rds("CreateDBInstance", **{**CREATE, **MASTER, **changes})["DBInstance"]
    return answer


def described(rds: RdsClient, name: str = "shop") -> dict[str, Any]:
    found: dict[str, Any] = rds("DescribeDBInstances", DBInstanceIdentifier=name)["DBInstances"][0]
    return found


def test_an_instance_that_never_was_available_is_deleted_at_once_and_its_name_is_free(
    rds: RdsClient, provider: Provider, machine: Machine
) -> None:
    first = create(rds)["DbiResourceId"]
    rds("DeleteDBInstance", DBInstanceIdentifier="shop", SkipFinalSnapshot=True)
    second = create(rds)["DbiResourceId"]
    provider.tick()
    assert [server.directory.name for server in machine.made] == [second] != [first]
    assert described(rds)["DBInstanceStatus"] == "available"


def test_an_instance_is_creating_until_its_server_has_its_master_user(
    rds: RdsClient, provider: Provider, machine: Machine
) -> None:
    made = create(rds, DBName="orders", Port=5999)
    assert (made["DBInstanceStatus"], made["Endpoint"]) == ("creating", None)
    provider.tick()
    found = described(rds)
    assert found["DBInstanceStatus"] == "available"
    assert found["Endpoint"] == {"Address": "127.0.0.1", "Port": 5999}
    (server,) = machine.made
    assert server.masters == [Master(username="master", password="first-Password-1", dbname="orders")]
    assert server.directory == machine.data_dir / "databases" / found["DbiResourceId"]
    provider.tick()
    assert len(server.masters) == 1


def test_a_server_that_ended_is_started_again_on_its_port_and_keeps_its_password(
    rds: RdsClient, provider: Provider, machine: Machine
) -> None:
    create(rds)
    provider.tick()
    machine.made[0].running = False
    provider.tick()
    assert [(server.running, len(server.masters)) for server in machine.made] == [(True, 1)]
    provider.close()
    assert [server.running for server in machine.made] == [False]
    again = machine.provider(rds)
    again.tick()
    assert machine.made[1].asked_port == described(rds)["Endpoint"]["Port"] == 50_001
    assert machine.made[1].masters == []
    assert machine.made[1].password == machine.made[0].password
    again.close()


def test_a_start_that_fails_is_told_and_tried_again_later_and_later(
    rds: RdsClient, provider: Provider, machine: Machine
) -> None:
    machine.first_fails = ["no room on the disk", "still none", "none at all"]
    create(rds)
    provider.tick()
    assert described(rds)["DBInstanceStatus"] == "failed"
    assert described(rds)["StatusInfos"][0]["Message"] == "no room on the disk"
    waits = []
    for _ in range(2):
        began, left = machine.now, len(machine.first_fails)
        while len(machine.first_fails) == left:
            machine.now += 0.5
            provider.tick()
        waits.append(machine.now - began)
    assert waits == [1.0, 2.0]
    machine.now += 4
    provider.tick()
    assert (described(rds)["DBInstanceStatus"], described(rds)["StatusInfos"]) == ("available", [])
    assert len(machine.made[0].masters) == 1


def test_one_process_runs_a_server_and_another_goes_on_when_it_ends(
    rds: RdsClient, provider: Provider, machine: Machine
) -> None:
    create(rds)
    provider.tick()
    other = machine.provider(rds)
    other.tick()
    assert len(machine.made) == 1
    provider.close()
    other.tick()
    assert [server.running for server in machine.made] == [False, True]
    other.close()


def test_a_node_leaves_alone_what_another_data_directory_holds(
    rds: RdsClient, provider: Provider, tmp_path: Path
) -> None:
    create(rds)
    provider.tick()
    elsewhere = Machine(data_dir=tmp_path / "elsewhere")
    elsewhere.data_dir.mkdir()
    other = elsewhere.provider(rds)
    other.tick()
    assert elsewhere.made == []


def test_a_new_password_is_set_once_and_is_kept_nowhere(
    rds: RdsClient, provider: Provider, machine: Machine
) -> None:
    create(rds)
    provider.tick()
    rds("ModifyDBInstance", DBInstanceIdentifier="shop", MasterUserPassword="second-Password-2")
    assert described(rds)["DBInstanceStatus"] == "resetting-master-credentials"
    provider.tick()
    assert described(rds)["DBInstanceStatus"] == "available"
    provider.tick()
    assert [one.password for one in machine.made[0].masters] == ["first-Password-1", "second-Password-2"]


def test_a_password_that_was_overtaken_while_it_was_set_is_set_again(
    rds: RdsClient, provider: Provider, machine: Machine
) -> None:
    create_ring(rds)
    provider.tick()
    (server,) = machine.made
    reset(rds, "second-Password-2")

    def overtake() -> None:
        server.meanwhile = lambda: None
        reset(rds, "third-Password-33")

    server.meanwhile = overtake
    provider.tick()
    assert described(rds)["DBInstanceStatus"] == "resetting-master-credentials"
    provider.tick()
    assert described(rds)["DBInstanceStatus"] == "available"
    assert server.masters[-1].password == "third-Password-33"


def create_ring(rds: RdsClient) -> None:
    """Make an Aurora cluster with one member."""
    rds("CreateDBCluster", DBClusterIdentifier="ring", Engine="aurora-postgresql", **MASTER)
    rds("CreateDBInstance", **{**CREATE, "Engine": "aurora-postgresql", "DBClusterIdentifier": "ring"})


def reset(rds: RdsClient, password: str) -> None:
    rds("ModifyDBCluster", DBClusterIdentifier="ring", MasterUserPassword=password)


def test_deleting_ends_the_server_and_removes_its_files_and_then_the_row(
    rds: RdsClient, provider: Provider, machine: Machine
) -> None:
    create(rds)
    provider.tick()
    (server,) = machine.made
    assert refusal(lambda: rds("DeleteDBInstance", DBInstanceIdentifier="shop"))[0] == (
        "InvalidParameterCombination"
    )
    rds("DeleteDBInstance", DBInstanceIdentifier="shop", SkipFinalSnapshot=True)
    assert described(rds)["DBInstanceStatus"] == "deleting"
    again = {"DBInstanceIdentifier": "shop", "SkipFinalSnapshot": True}
    assert refusal(lambda: rds("DeleteDBInstance", **again))[0] == "InvalidDBInstanceStateFault"
    provider.tick()
    assert (server.running, server.directory.exists()) == (False, False)
    assert identifiers(rds("DescribeDBInstances")) == []
    assert [entry.name for entry in (machine.data_dir / "databases").glob("db-*")] == []


def test_deleting_while_it_is_being_made_wins(rds: RdsClient, provider: Provider, machine: Machine) -> None:
    create(rds)
    original = machine.make

    def make(directory: Path, password: str, port: int | None, *, confined: bool) -> FakeServer:
        server = original(directory, password, port, confined=confined)
        delete = {"DBInstanceIdentifier": "shop", "SkipFinalSnapshot": True}
        server.meanwhile = lambda: rds("DeleteDBInstance", **delete)
        return server

    provider._servers = {"postgres": make}
    provider.tick()
    assert identifiers(rds("DescribeDBInstances")) == []
    assert machine.made[0].directory.exists()
    provider.tick()
    assert not machine.made[0].directory.exists()
    assert not machine.made[0].running


def test_an_aurora_cluster_has_one_local_member_that_is_its_endpoint(
    rds: RdsClient, provider: Provider, machine: Machine
) -> None:
    create_ring(rds)
    second = {**CREATE, "DBInstanceIdentifier": "b", "Engine": "aurora-postgresql"}
    assert refusal(lambda: rds("CreateDBInstance", **second, DBClusterIdentifier="ring"))[0] == (
        "InvalidDBClusterStateFault"
    )
    provider.tick()
    (ring,) = rds("DescribeDBClusters")["DBClusters"]
    assert (ring["Endpoint"], ring["Port"], ring["MasterUsername"]) == ("127.0.0.1", 50_001, "master")
    assert ring["DBClusterMembers"][0]["IsClusterWriter"] is True
    reset(rds, "second-Password-2")
    provider.tick()
    assert [one.password for one in machine.made[0].masters] == ["first-Password-1", "second-Password-2"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Engine": "mysql"}, "InsufficientDBInstanceCapacityFault"),
        ({"Engine": "aurora-postgresql"}, "InvalidParameterCombination"),
        ({"EngineVersion": "9.6"}, "InvalidParameterCombination"),
        ({"Port": 80}, "InvalidParameterCombination"),
        ({"DBClusterIdentifier": "absent"}, "DBClusterNotFoundFault"),
    ],
)
def test_what_this_machine_cannot_run_is_refused(rds: RdsClient, changes: dict[str, Any], code: str) -> None:
    assert refusal(lambda: create(rds, **changes))[0] == code


def test_a_driver_that_is_missing_is_said_at_the_call(
    rds: RdsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, message = refusal(lambda: create(rds, Engine="mariadb", DBName="orders"))
    assert (code, "turnlock[mysql]" in message) == ("InsufficientDBInstanceCapacityFault", True)
    assert identifiers(rds("DescribeDBInstances")) == []


def test_a_machine_that_cannot_confine_a_server_makes_none_unless_its_operator_allows_it(
    rds: RdsClient, machine: Machine, monkeypatch: pytest.MonkeyPatch, logs: list[EventDict]
) -> None:
    monkeypatch.setattr(assess, "missing", lambda: "Namespaces are needed.")
    code, message = refusal(lambda: create(rds))
    assert code == "InsufficientDBInstanceCapacityFault"
    assert "Namespaces are needed. Its operator can say --allow-unconfined-databases" in message
    rds.register(**instance("remote"))
    allowed = Service.of("rds", actions(allow_unconfined=True))
    create(rds.elsewhere(service=allowed))
    for allow, confined in ((False, True), (True, False)):
        provider = machine.provider(rds, allow_unconfined=allow)
        provider.tick()
        assert machine.made[-1].confined is confined
        told = [line for line in logs if line.get("action") == "server_started"][-1]
        assert (told["confined"], told["log_level"]) == (confined, "info" if confined else "warning")
        provider.close()


def test_there_is_a_limit_to_how_many(rds: RdsClient) -> None:
    for number in range(MOST_LOCAL):
        create(rds, DBInstanceIdentifier=f"db{number}")
    assert refusal(lambda: create(rds))[0] == "InstanceQuotaExceededFault"


def test_a_row_that_was_forged_stops_no_other_server(
    rds: RdsClient, provider: Provider, machine: Machine
) -> None:
    from turnlock.rds.tables import databases as rows

    create(rds)
    create(rds, DBInstanceIdentifier="other")
    forged = rows.update().where(rows.c.identifier == "shop").values(port=1234)
    rds.database.write(lambda unit: unit.connection.execute(forged))
    provider.tick()
    assert described(rds, "other")["DBInstanceStatus"] == "available"
    assert len(machine.made) == 1


def test_the_authorities_are_the_given_ones_and_each_servers(tmp_path: Path) -> None:
    given = tmp_path / "given.pem"
    given.write_text("given\n")
    for name in ("db-B", "db-A"):
        (tmp_path / "databases" / name / "tls").mkdir(parents=True)
        (tmp_path / "databases" / name / "tls" / "ca.pem").write_text(f"{name}\n")
    authorities = Authorities(tmp_path, given)
    authorities.write()
    assert authorities.path.read_text() == "given\ndb-A\ndb-B\n"
    assert authorities.path.stat().st_mode & 0o777 == 0o644
    before = authorities.path.stat().st_ino
    authorities.write()
    assert authorities.path.stat().st_ino == before
    assert sorted(entry.name for entry in (tmp_path / "databases").iterdir()) == [
        "ca-bundle.pem",
        "db-A",
        "db-B",
    ]


def test_the_store_has_its_arn(rds: RdsClient) -> None:
    assert create(rds)["DBInstanceArn"] == f"arn:aws:rds:{REGION}:{ACCOUNT}:db:shop"


def test_two_nodes_adopt_a_new_instance_once(
    rds: RdsClient, store_place: StorePlace, provider: Provider, tmp_path: Path, machine: Machine
) -> None:
    create(rds)
    elsewhere = Machine(data_dir=tmp_path / "elsewhere")
    elsewhere.data_dir.mkdir()
    other_store = RdsClient(database=store_place.open(), clock=rds.clock)
    other = elsewhere.provider(other_store)
    provider.tick()
    other.tick()
    assert (len(machine.made), len(elsewhere.made)) == (1, 0)
    other.close()
