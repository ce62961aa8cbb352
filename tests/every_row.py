"""A store in which every table has rows, and what reads them and acts on them: for whoever changes them by hand.

Everything happens in units over one SQLite connection of its own, without foreign keys and checks, which whoever writes the
file could turn off too. What a test changes is rolled back.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, select
from sqlalchemy.pool import NullPool

from tests.calling import ACCOUNT, REGION, token
from tests.functions.api.calling import ROLE, TRUST, package
from tests.support import NOON, SettableClock, fresh_keyring
from turnlock import accounts, rds, rotation, secrets
from turnlock.accounts.credentials import find_credential, unseal_secret
from turnlock.app import JOBS, services
from turnlock.core.action import Answer
from turnlock.core.arn import Region
from turnlock.core.call import Call, Principal, PrincipalKind, Session
from turnlock.core.ports import SystemEntropy
from turnlock.errors import ApiError
from turnlock.functions.api.store import FUNCTIONS, find_function, read_code, versions_of
from turnlock.functions.events import Event, Events, promise
from turnlock.functions.logs.store import append
from turnlock.functions.model import LogBatch
from turnlock.iam.mfa.one_time_codes import code_of, step_at
from turnlock.rotation.masters import allowed_master
from turnlock.rotation.rehearsal import store as rehearsals
from turnlock.rotation.store import find_unfinished, last_plan, overdue, runnable
from turnlock.shell.gate import pass_through
from turnlock.storage import Unit, open_database
from turnlock.storage.database import NoRecords, Surroundings
from turnlock.storage.leases import claim, renew, require_current
from turnlock.storage.outbox import claim_due, outbox
from turnlock.storage.unit import joined
from turnlock.trail import TrailTable, key_of_unit, verify

AWAY = Region("us-east-1")
HOSTED = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:SecretsManagerRDSPostgreSQLRotation"
VALUE = {"engine": "postgres", "host": "db", "username": "app", "password": "a-password"}
SERVICES = services()


def policy(**members: Any) -> str:
    """Return a policy of one statement that allows; a member that is None is left out."""
    statement = {"Effect": "Allow", "Principal": "*", "Resource": "*", **members}
    kept = {name: value for name, value in statement.items() if value is not None}
    return json.dumps({"Version": "2012-10-17", "Statement": [kept]})


Exercise = Callable[[Unit], object]


@dataclass
class Estate:
    """The store; `facts` is what a reader knows of it by heart."""

    connection: Connection
    clock: SettableClock = field(default_factory=SettableClock)
    keyring: Any = field(default_factory=fresh_keyring)
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def fresh(cls, directory: Path) -> Iterator[Estate]:
        """Make and fill a store in an empty directory."""
        around = Surroundings(
            clock=SettableClock(), entropy=SystemEntropy(), keyring=fresh_keyring(), sink=NoRecords
        )
        open_database(url=None, data_dir=directory, surroundings=around).close()
        engine = create_engine(
            f"sqlite:///{directory}/turnlock.db", poolclass=NullPool, isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.isolation_level = None
            for pragma in ("foreign_keys=ON", "synchronous=OFF", "ignore_check_constraints=ON"):
                driver.execute(f"PRAGMA {pragma}")
            estate = cls(connection)
            estate.driver.execute("BEGIN")
            _fill(estate)
            estate.driver.execute("COMMIT")
            driver.execute("PRAGMA foreign_keys=OFF")
            yield estate

    @property
    def driver(self) -> Any:
        return self.connection.connection.driver_connection

    def unit(self) -> Unit:
        """Return a unit inside the transaction that is open."""
        return Unit(
            connection=self.connection,
            driver=self.driver,
            dialect="sqlite",
            now=self.clock.now(),
            entropy=SystemEntropy(),
            keyring=self.keyring,
            writes=True,
            subscribers=joined(rotation.SUBSCRIBERS, secrets.SUBSCRIBERS),
            regions=frozenset({REGION, AWAY}),
        )

    def ask(self, service: str, operation: str, /, **request: Any) -> Answer:
        """Let the account's root user call an action in a unit of its own."""
        return ask(self.unit(), service, operation, **request)


def ask(
    unit: Unit,
    service: str,
    operation: str,
    /,
    principal: Principal | None = None,
    session: Session | None = None,
    **request: Any,
) -> Answer:
    """Call an action through the gate, by the root user unless another is given; errors are raised."""
    call = Call(
        principal=principal or accounts.root_principal(ACCOUNT),
        session=session or Session(access_key_id="AKIAEXAMPLE"),
        account_id=ACCOUNT,
        region=REGION,
        service=service,
        action=operation,
        request_id="r",
        source_ip="192.0.2.7",
        user_agent="tests",
        at=unit.now,
    )
    outcome = pass_through(SERVICES[service].passages[operation], call, request, unit)
    if isinstance(outcome, ApiError):
        raise outcome
    return outcome


def _fill(estate: Estate) -> None:
    unit = estate.unit()
    key_of_unit(unit)  # as the first start does
    made = accounts.create_account(unit, ACCOUNT)
    estate.facts["root key"] = made.access_key_id
    for fill in (_fill_iam, _fill_kms, _fill_secrets, _fill_functions, _fill_databases, _fill_work):
        fill(estate, estate.facts)


def _fill_iam(estate: Estate, facts: dict[str, Any]) -> None:
    def ask_iam(operation: str, **request: Any) -> Answer:
        return estate.ask("iam", operation, **request)

    user = ask_iam("CreateUser", UserName="ann")["User"]
    facts["ann"] = Principal(
        kind=PrincipalKind.USER, arn=user["Arn"], account_id=ACCOUNT, principal_id=user["UserId"]
    )
    ask_iam("CreateGroup", GroupName="readers")
    ask_iam("AddUserToGroup", GroupName="readers", UserName="ann")
    document = policy(Action="secretsmanager:*", Principal=None)
    ask_iam("PutUserPolicy", UserName="ann", PolicyName="all", PolicyDocument=document)
    managed = ask_iam("CreatePolicy", PolicyName="reads", PolicyDocument=document)["Policy"]["Arn"]
    facts["managed"] = managed
    ask_iam("CreatePolicyVersion", PolicyArn=managed, PolicyDocument=document, SetAsDefault=True)
    ask_iam("AttachUserPolicy", UserName="ann", PolicyArn=managed)
    ask_iam("CreateLoginProfile", UserName="ann", Password="a-Long-password-1")
    key = ask_iam("CreateAccessKey", UserName="ann")["AccessKey"]
    facts["ann's key"] = key["AccessKeyId"]
    device = ask_iam("CreateVirtualMFADevice", VirtualMFADeviceName="phone")["VirtualMFADevice"]
    facts["serial"] = device["SerialNumber"]
    facts["seed"] = base64.b32decode(device["Base32StringSeed"])
    step = step_at(estate.clock.now())
    ask_iam(
        "EnableMFADevice",
        UserName="ann",
        SerialNumber=facts["serial"],
        AuthenticationCode1=code_of(facts["seed"], step),
        AuthenticationCode2=code_of(facts["seed"], step + 1),
    )
    estate.clock.advance(timedelta(minutes=2))
    facts["issuer"] = ask_iam(
        "CreateOpenIDConnectProvider", Url="https://issuer.example.com", ClientIDList=["turnlock"]
    )["OpenIDConnectProviderArn"]
    trusts = policy(Action="sts:AssumeRole", Principal={"AWS": user["Arn"]}, Resource=None)
    role = ask_iam("CreateRole", RoleName="reader", AssumeRolePolicyDocument=trusts)["Role"]["Arn"]
    ask_iam("PutRolePolicy", RoleName="reader", PolicyName="all", PolicyDocument=document)
    ask_iam("CreateRole", RoleName="rotation", AssumeRolePolicyDocument=json.dumps(TRUST))
    ask_iam("CreateInstanceProfile", InstanceProfileName="web")
    ask_iam("AddRoleToInstanceProfile", InstanceProfileName="web", RoleName="rotation")
    ask(estate.unit(), "logs", "CreateLogGroup", logGroupName="/made/before")
    ask_iam(
        "PutUserPolicy",
        UserName="ann",
        PolicyName="assumes",
        PolicyDocument=policy(Action="sts:AssumeRole", Principal=None),
    )
    assumed = ask(
        estate.unit(),
        "sts",
        "AssumeRole",
        principal=facts["ann"],
        RoleArn=role,
        RoleSessionName="session",
        Policy=document,
    )
    facts["session"] = assumed["Credentials"]


def _fill_kms(estate: Estate, facts: dict[str, Any]) -> None:
    key = estate.ask("kms", "CreateKey", Tags=[{"TagKey": "a", "TagValue": "b"}])["KeyMetadata"]["Arn"]
    facts["key"] = key
    estate.ask("kms", "CreateAlias", AliasName="alias/shop", TargetKeyId=key)
    estate.ask("kms", "EnableKeyRotation", KeyId=key)
    estate.ask(
        "kms",
        "CreateGrant",
        KeyId=key,
        GranteePrincipal=facts["ann"].arn,
        RetiringPrincipal=facts["ann"].arn,
        Operations=["DescribeKey"],
    )
    facts["blob"] = estate.ask("kms", "Encrypt", KeyId=key, Plaintext=b"x")["CiphertextBlob"]


def _fill_secrets(estate: Estate, facts: dict[str, Any]) -> None:
    key, made = facts["key"], {}
    for number, (name, more) in enumerate(
        (("plain", {}), ("keyed", {"KmsKeyId": key}), ("spread", {"KmsKeyId": key}))
    ):
        made[name] = estate.ask(
            "secretsmanager",
            "CreateSecret",
            Name=name,
            SecretString=name,
            ClientRequestToken=token(number),
            Tags=[{"Key": "team", "Value": "red"}],
            **more,
        )["ARN"]
        estate.ask(
            "secretsmanager",
            "PutSecretValue",
            SecretId=name,
            SecretBinary=b"newer",
            ClientRequestToken=token(20 + number),
        )
    estate.ask(
        "secretsmanager",
        "PutResourcePolicy",
        SecretId="plain",
        ResourcePolicy=policy(Action="secretsmanager:*"),
    )
    estate.ask(
        "secretsmanager",
        "ReplicateSecretToRegions",
        SecretId="spread",
        AddReplicaRegions=[{"Region": AWAY, "KmsKeyId": "alias/aws/secretsmanager"}],
    )
    made["master"] = estate.ask(
        "secretsmanager",
        "CreateSecret",
        Name="master",
        SecretString=json.dumps(VALUE),
        ClientRequestToken=token(40),
    )["ARN"]
    value = json.dumps({**VALUE, "masterarn": made["master"]})
    made["app"] = estate.ask(
        "secretsmanager", "CreateSecret", Name="app", SecretString=value, ClientRequestToken=token(41)
    )["ARN"]
    estate.ask(
        "secretsmanager",
        "RotateSecret",
        SecretId="app",
        ClientRequestToken=token(42),
        RotationLambdaARN=HOSTED + "MultiUser",
        RotationRules={"ScheduleExpression": "rate(10 days)"},
    )
    facts["secrets"] = made


def _fill_functions(estate: Estate, facts: dict[str, Any]) -> None:
    def ask_lambda(operation: str, **request: Any) -> Answer:
        return estate.ask("lambda", operation, FunctionName="echo", **request)

    ask_lambda(
        "CreateFunction",
        Runtime="python3.11",
        Role=ROLE,
        Handler="main.handler",
        Code={"ZipFile": package({"main.py": "def handler(event, context): pass"})},
    )
    ask_lambda("PublishVersion")
    ask_lambda("CreateAlias", Name="live", FunctionVersion="1")
    ask_lambda(
        "AddPermission",
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal="secretsmanager.amazonaws.com",
    )
    arn = ask_lambda("GetFunction")["Configuration"]["FunctionArn"]
    promise(estate.unit(), Event(account_id=ACCOUNT, region=REGION, arn=arn, payload=b"{}"))
    append(
        estate.unit(),
        [
            LogBatch(
                account_id=ACCOUNT,
                region=REGION,
                group="/aws/lambda/echo",
                stream="s",
                at=NOON,
                messages=("one", "two"),
            )
        ],
    )


def _fill_databases(estate: Estate, facts: dict[str, Any]) -> None:
    master = {"MasterUsername": "master", "MasterUserPassword": "first-Password-1"}
    instance = {
        "DBInstanceIdentifier": "shop",
        "DBInstanceClass": "db.t4g.micro",
        "Engine": "postgres",
        "Endpoint": {"Address": "shop.example.com", "Port": 5433},
        "Tags": [{"Key": "team", "Value": "red"}],
    }
    action = rds.REGISTER_INSTANCE
    outcome: Any = action.handler(_call_of(estate, "CreateDBInstance"), {**instance, **master}, estate.unit())
    facts["instance"] = outcome["DBInstance"]["DBInstanceArn"]


def _call_of(estate: Estate, operation: str) -> Call:
    return Call(
        principal=accounts.root_principal(ACCOUNT),
        account_id=ACCOUNT,
        region=REGION,
        service="rds",
        action=operation,
        request_id="r",
        source_ip="192.0.2.7",
        user_agent="tests",
        at=estate.clock.now(),
    )


def _fill_work(estate: Estate, facts: dict[str, Any]) -> None:
    unit = estate.unit()
    secret = secrets.find_secret(unit, secrets.parse_secret_id("app", ACCOUNT, REGION))
    assert secret is not None
    finding = rehearsals.Finding("login", "ok", "The login works.")
    rehearsals.save(unit, secret, rehearsals.Report(findings=[finding], would="Rotate."))
    facts["fence"] = claim(unit, ACCOUNT, REGION, "held", holder="tests", seconds=3600)
    entries = [*unit.entries]
    secrets_unit = estate.unit()
    ask(secrets_unit, "secretsmanager", "TagResource", SecretId="plain", Tags=[{"Key": "a", "Value": "b"}])
    around = Surroundings(clock=estate.clock, entropy=SystemEntropy(), keyring=estate.keyring)
    TrailTable("tests").write(estate.connection, [*entries, *secrets_unit.entries], around)()


def exercises(facts: Mapping[str, Any]) -> dict[str, Exercise]:
    """Return what reads and acts, by name; each in a unit of its own."""
    found: dict[str, Exercise] = {}

    def add(service: str, operation: str, /, **request: Any) -> None:
        found[f"{service}:{operation} {request}"] = lambda unit: ask(unit, service, operation, **request)

    for name in facts["secrets"]:
        add("secretsmanager", "GetSecretValue", SecretId=name)
        add("secretsmanager", "DescribeSecret", SecretId=name)
    for number, name in enumerate(("plain", "keyed", "spread")):
        for version in (number, 20 + number):
            add("secretsmanager", "GetSecretValue", SecretId=name, VersionId=token(version))
    add("secretsmanager", "GetResourcePolicy", SecretId="plain")
    add("secretsmanager", "ListSecrets")
    for name in ("spread", "app"):
        add("secretsmanager", "PutSecretValue", SecretId=name, SecretString="x", ClientRequestToken=token(90))
    _add_iam(add, found, facts)
    for operation in ("DescribeKey", "GetKeyPolicy", "ListGrants", "ListKeyRotations", "ListAliases"):
        add("kms", operation, KeyId=facts["key"])
    add("kms", "Encrypt", KeyId="alias/shop", Plaintext=b"y")
    add("kms", "Decrypt", CiphertextBlob=facts["blob"])
    for operation in ("GetFunction", "GetPolicy", "ListVersionsByFunction", "ListAliases"):
        add("lambda", operation, FunctionName="echo")
    add("rds", "DescribeDBInstances")
    add("rds", "ListTagsForResource", ResourceName=facts["instance"])
    add("logs", "GetLogEvents", logGroupName="/aws/lambda/echo", logStreamName="s")
    add("logs", "DescribeLogStreams", logGroupName="/made/before")
    found.update(_work(facts))
    return found


def _add_iam(add: Callable[..., None], found: dict[str, Exercise], facts: Mapping[str, Any]) -> None:
    for operation in ("GetUser", "ListAccessKeys", "ListAttachedUserPolicies", "ListGroupsForUser"):
        add("iam", operation, UserName="ann")
    for operation in ("GetLoginProfile", "ListMFADevices", "ListUserPolicies"):
        add("iam", operation, UserName="ann")
    for name in ("reader", "rotation"):
        add("iam", "GetRole", RoleName=name)
    add("iam", "GetGroup", GroupName="readers")
    add("iam", "ListVirtualMFADevices")
    add("iam", "GetInstanceProfile", InstanceProfileName="web")
    add("iam", "GetPolicy", PolicyArn=facts["managed"])
    for version in ("v1", "v2"):
        add("iam", "GetPolicyVersion", PolicyArn=facts["managed"], VersionId=version)
    add("iam", "ListEntitiesForPolicy", PolicyArn=facts["managed"])
    add("iam", "GetOpenIDConnectProvider", OpenIDConnectProviderArn=facts["issuer"])
    add("iam", "GetAccountAuthorizationDetails")
    found["accounts"] = accounts.accounts
    given = facts["session"]
    for name, key_id, secret_token in (
        ("root", facts["root key"], None),
        ("ann", facts["ann's key"], None),
        ("session", given["AccessKeyId"], given["SessionToken"]),
    ):
        found[f"credential {name}"] = partial(_secret_of, key_id, secret_token)
    found["ann reads"] = lambda unit: ask(
        unit, "secretsmanager", "GetSecretValue", principal=facts["ann"], SecretId="plain"
    )
    found["ann's code"] = lambda unit: ask(
        unit,
        "sts",
        "GetSessionToken",
        principal=facts["ann"],
        SerialNumber=facts["serial"],
        TokenCode=code_of(facts["seed"], step_at(unit.now)),
    )


def _secret_of(key_id: str, session_token: str | None, unit: Unit) -> str:
    return unseal_secret(unit, find_credential(unit, key_id, session_token, unit.now))


def _work(facts: Mapping[str, Any]) -> dict[str, Exercise]:
    def app(unit: Unit) -> Any:
        return secrets.find_secret(unit, secrets.parse_secret_id("app", ACCOUNT, REGION))

    def later(unit: Unit) -> Unit:
        unit.now += timedelta(days=400)
        return unit

    def jobs(unit: Unit) -> None:
        for row in unit.connection.execute(select(outbox)).all():
            JOBS[row.kind](unit, row.account_id, row.region, row.sealed_payload)

    def code(unit: Unit) -> object:
        function = find_function(unit, ACCOUNT, REGION, "echo")
        assert function is not None
        return [len(read_code(unit, version)) for version in versions_of(unit, function)]

    def fence(unit: Unit) -> None:
        require_current(unit, facts["fence"])
        assert renew(unit, facts["fence"], seconds=1)

    def trail(unit: Unit) -> None:
        assert verify(unit, Path("there are no segments")) == []

    def events(unit: Unit) -> object:
        none: Any = None
        return Events(none, none, "tests")._claim(9, unit)

    return {
        "plan": lambda unit: find_unfinished(unit, app(unit)),
        "last plan": lambda unit: last_plan(unit, app(unit), token(42)),
        "due plans": lambda unit: len(runnable(unit, later(unit).now, 9)),
        "overdue plans": lambda unit: len(overdue(unit, later(unit).now, 9)),
        "master": lambda unit: allowed_master(unit, app(unit)),
        "rehearsal": lambda unit: rehearsals.latest(unit, app(unit)),
        "due jobs": lambda unit: [job.kind for job in claim_due(unit, holder="x", limit=9)],
        "jobs": jobs,
        "functions": FUNCTIONS.all,
        "code": code,
        "fence": fence,
        "lease": lambda unit: claim(later(unit), ACCOUNT, REGION, "held", holder="x", seconds=1),
        "events": events,
        "trail": trail,
    }
