"""What stands at the process border in the tests of rotation: databases that accept one password, and a hosted function.

The function calls Secrets Manager through the gate, with the session that the scheduler issued for it, as a real one does.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from sqlalchemy import select, update

from tests.calling import ACCOUNT, REGION, Client, services, token
from turnlock import accounts, secrets
from turnlock.core.credentials import TemporaryCredentials
from turnlock.errors import ApiError, ResourceNotFoundException
from turnlock.functions import Fault, FaultKind, Functions, Invocation, InvocationResult
from turnlock.rotation import Limits, Observer, Scheduler, unobserved
from turnlock.rotation.plans import scheduled
from turnlock.rotation.runner.due import begin_soon
from turnlock.rotation.store import PlanRow, any_runnable, rotations
from turnlock.storage import Database, Unit
from turnlock.storage.leases import leases
from turnlock.trail.store import trail_records

FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:SecretsManagerRDSPostgreSQLRotationSingleUser"
SERVICE = services()["secretsmanager"]
PATIENCE = 60.0
"""Seconds in which a condition has to come true, on a machine that does much else."""
STAGES = {"pending": "AWSPENDING", "current": "AWSCURRENT", "previous": "AWSPREVIOUS"}

Hook = Callable[[str, Invocation, threading.Event], None]


def value(host: str = "db-1", password: str = "first-password") -> str:
    """Return a database secret's value."""
    return json.dumps({"engine": "postgres", "host": host, "username": "app", "password": password})


def nothing(_step: str, _invocation: Invocation, _abort: threading.Event) -> None:
    """Do nothing."""


@dataclass(kw_only=True)
class World:
    """The databases, and what happened to them: shared by the functions of all nodes."""

    accepted: dict[str, str] = field(default_factory=dict)
    """By secret ARN: the password that its login has."""
    faults: list[tuple[str, str]] = field(default_factory=list)
    """(step, message): the next invocation with this step fails so, before it does anything."""
    before: Hook = nothing
    """Called before each step is carried out; what it raises goes to the scheduler."""
    after: Hook = nothing
    seconds: float = 0.0
    """How long a step takes."""
    refusals: list[str] = field(default_factory=list)
    """What was written into functions' logs of steps that were not run."""
    discarded: list[str] = field(default_factory=list)
    """Secrets whose old password was discarded, in order."""
    report: Any = field(default_factory=lambda: {"findings": [], "would": "Nothing."})
    """What the step `rehearse` answers."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """(secret's ARN, step), as they began."""
    running: Counter[str] = field(default_factory=Counter)
    """By secret ARN, node and host: steps that run now."""
    most: Counter[str] = field(default_factory=Counter)
    """By the same: the most that ran at once."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def steps(self, arn: str) -> list[str]:
        """Return the steps that ran for a secret."""
        return [step for secret, step in self.calls if secret == arn]

    def begin(self, arn: str, step: str, places: tuple[str, ...]) -> None:
        with self.lock:
            self.calls.append((arn, step))
            for place in places:
                self.running[place] += 1
                self.most[place] = max(self.most[place], self.running[place])

    def end(self, places: tuple[str, ...]) -> None:
        with self.lock:
            self.running.subtract(places)

    def scripted(self, step: str) -> str | None:
        with self.lock:
            for position, (when, message) in enumerate(self.faults):
                if when == step:
                    del self.faults[position]
                    return message
        return None


class Node(Functions):
    """One server's scheduler with its function processes, none of which is a process."""

    def __init__(
        self, world: World, client: Client, *, name: str, limits: Limits, observe: Observer = unobserved
    ) -> None:
        super().__init__("http://127.0.0.1:9")
        self.world = world
        self.client = client
        self.database = client.database
        self.name = name
        self.warm: dict[str, TemporaryCredentials] = {}
        self.scheduler = Scheduler(
            database=client.database, pool=self, holder=name, limits=limits, observe=observe
        )

    def warm_access_key_id(self, function_arn: str, secret_arn: str) -> str | None:
        held = self.warm.get(secret_arn)
        return None if held is None else held.access_key_id

    def forget(self, secret_arn: str) -> None:
        self.warm.pop(secret_arn, None)

    def log_refusal(self, function_arn: str, sentence: str) -> None:
        self.world.refusals.append(sentence)

    def invoke(self, invocation: Invocation, *, abort: threading.Event) -> InvocationResult:
        arn, step = invocation.secret_arn, invocation.payload["Step"]
        held = self.warm.get(arn)
        if held is None or held.expires_at <= self.client.clock.now():
            self.warm[arn] = invocation.credentials()
        world, places = self.world, (arn, f"node {self.name}", f"host {self._host(arn)}")
        world.begin(arn, step, places)
        invocation.started()
        try:
            world.before(step, invocation, abort)
            if (message := world.scripted(step)) is not None:
                return _failed(message)
            time.sleep(world.seconds)
            payload = self._step(step, invocation)
            world.after(step, invocation, abort)
        except ApiError as error:
            return _failed(f"{error.code}: {error.message}")
        finally:
            world.end(places)
        return InvocationResult(payload=payload)

    def caller(self, arn: str) -> Client:
        """Return a client with the session that a secret's process holds, read anew as each request does."""
        held = self.warm[arn]
        now = self.client.clock.now()
        credential = self.client.database.read(
            lambda unit: accounts.find_credential(unit, held.access_key_id, held.session_token, now)
        )
        return self.client.elsewhere(principal=credential.principal, session=credential.session, records=[])

    def _host(self, arn: str) -> str:
        return arn.rpartition(":")[2].partition("/")[0]

    def _step(self, step: str, invocation: Invocation) -> Any:
        arn, pending = invocation.secret_arn, invocation.payload["ClientRequestToken"]
        call = self.caller(arn)
        if step == "createSecret":
            _create(call, arn, pending, invocation.payload["RotationToken"])
        elif step == "setSecret":
            self.world.accepted[arn] = _password(call, arn, VersionId=pending)
        elif step == "testSecret":
            if _password(call, arn, VersionId=pending) != self._accepted(arn):
                raise ApiError("password authentication failed")
        elif step == "finishSecret":
            _finish(call, arn, pending)
        elif step == "discardPrevious":
            self.world.discarded.append(arn)
        elif step == "rehearse":
            return self.world.report
        else:
            return self._probe(call, arn, pending)
        return None

    def _accepted(self, arn: str) -> str:
        return self.world.accepted.setdefault(arn, "first-password")

    def _probe(self, call: Client, arn: str, pending: str) -> dict[str, str]:
        asked = {name: {"VersionStage": stage} for name, stage in STAGES.items()}
        asked["pending"] = {"VersionId": pending}
        answers: dict[str, str] = {}
        for name, which in asked.items():
            try:
                known = _password(call, arn, **which) == self._accepted(arn)
                answers[name] = "accepted" if known else "refused"
            except ResourceNotFoundException:
                answers[name] = "absent"
        return answers


def _failed(message: str) -> InvocationResult:
    return InvocationResult(fault=Fault(kind=FaultKind.FUNCTION, error_type="Error", message=message))


def _password(call: Client, arn: str, **which: str) -> str:
    found = json.loads(call("GetSecretValue", SecretId=arn, **which)["SecretString"])
    return str(found["password"])


def _create(call: Client, arn: str, pending: str, rotation_token: str) -> None:
    try:
        call("GetSecretValue", SecretId=arn, VersionId=pending, VersionStage="AWSPENDING")
    except ResourceNotFoundException:
        current = json.loads(call("GetSecretValue", SecretId=arn)["SecretString"])
        current["password"] = f"password-{uuid.uuid4()}"
        call(
            "PutSecretValue",
            SecretId=arn,
            ClientRequestToken=pending,
            SecretString=json.dumps(current),
            VersionStages=["AWSPENDING"],
            RotationToken=rotation_token,
        )


def _finish(call: Client, arn: str, pending: str) -> None:
    stages = call("DescribeSecret", SecretId=arn)["VersionIdsToStages"]
    current = next(version for version, labels in stages.items() if "AWSCURRENT" in labels)
    if current != pending:
        call(
            "UpdateSecretVersionStage",
            SecretId=arn,
            VersionStage="AWSCURRENT",
            MoveToVersionId=pending,
            RemoveFromVersionId=current,
        )


def create(client: Client, name: str = "db-1/app", **parameters: Any) -> str:
    """Create a database secret whose host is its name's first part; return its ARN."""
    host = name.partition("/")[0]
    given = {"ClientRequestToken": token(1), "SecretString": value(host), **parameters}
    return str(client("CreateSecret", Name=name, **given)["ARN"])


def create_scheduled(client: Client, names: list[str], **rules: Any) -> None:
    """Create many secrets at once, each on this schedule as after a configuration check that was done now."""
    passage = client.service.passages["CreateSecret"]

    def work(batch: list[str], unit: Unit) -> None:
        for name in batch:
            text = value(name.partition("/")[0])
            made = client._pass(
                passage, {"Name": name, "ClientRequestToken": token(1), "SecretString": text}, unit
            )
            assert not isinstance(made[0], ApiError)
            secret = secrets.find_secret(unit, secrets.parse_secret_id(name, ACCOUNT, REGION))
            assert secret is not None
            configured = secret.evolve(
                rotation=secrets.Rotation(enabled=True, function_arn=FUNCTION, rules=rules)
            )
            secrets.update_secret(unit, scheduled(unit, configured, last=unit.now, now=unit.now))

    for first in range(0, len(names), 200):
        client.database.write(partial(work, names[first : first + 200]))


def rotate(client: Client, arn: str, number: int = 2, **parameters: Any) -> str:
    """Call RotateSecret with the hosted function and a token of this number; return the version's id."""
    given = {"RotationLambdaARN": FUNCTION, "ClientRequestToken": token(number), **parameters}
    return str(client("RotateSecret", SecretId=arn, **given)["VersionId"])


def stages(client: Client, arn: str) -> dict[str, str]:
    """Return label → version id."""
    found = client("DescribeSecret", SecretId=arn).get("VersionIdsToStages", {})
    return {label: version for version, labels in found.items() for label in labels}


def records(database: Database) -> list[dict[str, Any]]:
    """Return the service events in the trail, oldest first; of one moment's, what began comes before what ended."""
    statement = select(trail_records.c.at, trail_records.c.body)
    rows = database.read(lambda unit: unit.connection.execute(statement).all())
    found = [(at, json.loads(body)) for at, body in rows]
    found.sort(key=lambda row: (row[0], not row[1]["eventName"].endswith("Started")))
    return [body for _, body in found if body["eventType"] == "AwsServiceEvent"]


def events(database: Database, arn: str | None = None) -> list[str]:
    """Return the names of the service events, of one secret or of all."""
    return [
        record["eventName"]
        for record in records(database)
        if arn in (None, record["additionalEventData"]["SecretId"])
    ]


def plan_rows(database: Database) -> list[Any]:
    """Return the rows of all plans, in the order in which they began."""
    statement = select(rotations).order_by(rotations.c.started_at, rotations.c.run)
    return list(database.read(lambda unit: unit.connection.execute(statement).all()))


def let_leases_run_out(client: Client) -> None:
    """Do what time does to the leases of a node that is gone."""
    client.database.write(
        lambda unit: unit.connection.execute(
            update(leases).where(leases.c.name.startswith("rotation/")).values(expires_at=1)
        )
    )


def wait_until(condition: Callable[[], object], *, seconds: float = PATIENCE) -> None:
    """Wait for a condition, a bounded time."""
    for _ in _moments(seconds):
        if condition():
            return
    raise AssertionError("the condition did not come true in time")


class Rotating(Protocol):
    """Whoever carries rotations out, and the store that they are in."""

    @property
    def scheduler(self) -> Scheduler: ...

    @property
    def database(self) -> Database: ...


def tick_until(condition: Callable[[], object], *nodes: Rotating, seconds: float = PATIENCE) -> None:
    """Let the nodes look for work again and again until a condition is true."""
    for _ in _moments(seconds):
        for node in nodes:
            node.scheduler.tick()
        if condition():
            return
    raise AssertionError("the condition did not come true in time")


def settle(*nodes: Rotating, seconds: float = PATIENCE) -> None:
    """Let the nodes work until there is nothing to do at the clock's present moment."""
    tick_until(lambda: _idle(nodes), *nodes, seconds=seconds)


def _idle(nodes: tuple[Rotating, ...]) -> bool:
    if any(node.scheduler.busy for node in nodes):
        return False
    database = nodes[0].database
    return not database.read(begin_soon) and not database.read(lambda unit: any_runnable(unit, unit.now))


def _moments(seconds: float) -> Iterator[None]:
    """Yield at once and again, at first after 2 ms, later after 20: a look at a store costs more than waiting for it."""
    until, pause = time.monotonic() + seconds, 0.002
    while time.monotonic() < until:
        yield
        time.sleep(pause)
        pause = min(1.2 * pause, 0.02)


def crash_at(moment: str, step: str) -> Observer:
    """Return an observer under which the node dies, once, at this moment of this step."""
    left = [True]

    def observe(when: str, _row: PlanRow, which: Any) -> None:
        if (when, which.value) == (moment, step) and left:
            left.clear()
            raise Crash

    return observe


class Crash(BaseException):
    """The end of a process, as far as a thread can play it."""


def schedule(client: Client, node: Node, name: str = "db-1/app", **rules: Any) -> str:
    """Make a secret on a schedule, its configuration checked and its first window ahead."""
    arn = create(client, name)
    rotate(client, arn, RotationRules=rules, RotateImmediately=False)
    settle(node)
    return arn
