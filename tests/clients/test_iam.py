"""Users, roles and accounts through boto3 and the `aws` command: on two workers, and on two servers over one PostgreSQL.

Each change is made on one server and must hold for the very next request on the other, without a pause.
"""

from __future__ import annotations

import configparser
import itertools
import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.clients.conftest import Served, new_database
from tests.processes import REGION, ServerProcess, wait_until

ACCOUNT, OTHER = "123456789012", "210987654321"
GET = "secretsmanager:GetSecretValue"
SESSION = boto3.Session()
"""One for all: it keeps the services' models, whose reading takes the time."""
ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Credentials as a client has them."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    @classmethod
    def of(cls, given: dict[str, Any]) -> Keys:
        """Return the keys of an AccessKey or of Credentials in an answer."""
        return cls(
            access_key_id=given["AccessKeyId"],
            secret_access_key=given["SecretAccessKey"],
            session_token=given.get("SessionToken"),
        )


@dataclass(kw_only=True)
class Deployment:
    """One or two servers on one store; each client goes to the next of them, in turn."""

    servers: list[Served]
    root: Keys
    other_root: Keys
    """The root user of a second account."""
    turn: Iterator[Served] = field(init=False)

    def __post_init__(self) -> None:
        self.turn = itertools.cycle(self.servers)

    def client(self, service: str, keys: Keys | None = None) -> Any:
        """Return boto3's client on the next server; each request of it is on a connection of its own."""
        keys = keys or self.root
        return SESSION.client(
            service,  # type: ignore[call-overload]
            region_name=REGION,
            endpoint_url=next(self.turn).endpoint,
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret_access_key,
            aws_session_token=keys.session_token,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20),
        )

    @property
    def root_arn(self) -> str:
        return f"arn:aws:iam::{ACCOUNT}:root"

    def iam(self, keys: Keys | None = None) -> Any:
        return self.client("iam", keys)

    def user(self, policy: str | None = None, **more: Any) -> tuple[str, Keys]:
        """Make a user with a key and, where one is given, an inline policy; return its name and the key."""
        name = f"user-{uuid.uuid4().hex[:12]}"
        self.iam().create_user(UserName=name, **more)
        if policy is not None:
            self.iam().put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
        return name, Keys.of(self.iam().create_access_key(UserName=name)["AccessKey"])

    def secret(self, value: str = "the value", **more: Any) -> str:
        """Make a secret of the first account; return its ARN."""
        made = self.client("secretsmanager").create_secret(
            Name=f"s/{uuid.uuid4().hex}", SecretString=value, **more
        )
        return str(made["ARN"])

    def read(self, keys: Keys, secret: str) -> str:
        """Read a secret on the next server."""
        answer = self.client("secretsmanager", keys).get_secret_value(SecretId=secret)
        return str(answer["SecretString"])

    def refused(self, keys: Keys, secret: str) -> tuple[str, str]:
        """Return the code and the message of the error that a read gives, on every server the same."""
        errors = []
        for _ in self.servers:
            with pytest.raises(ClientError) as caught:
                self.read(keys, secret)
            error = caught.value.response["Error"]
            errors.append((error["Code"], error["Message"]))
        assert len(set(errors)) == 1
        return errors[0]


def statement(action: object, resource: object = "*", **more: object) -> str:
    body = {"Effect": "Allow", "Action": action, "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": body})


def trust(principal: object, action: object = "sts:AssumeRole") -> str:
    body = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": action}
    return json.dumps({"Version": "2012-10-17", "Statement": body})


@pytest.fixture(scope="module", params=["two workers", "two servers"])
def deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    two_servers = request.param == "two servers"
    data_dir = tmp_path_factory.mktemp("iam") / "first"
    database = new_database(request, "turnlock_iam") if two_servers else None
    options = ("--regions", REGION, "--workers", "1" if two_servers else "2")
    with ServerProcess(data_dir, database=database, options=options) as first:
        servers = [Served(process=first)]
        other_root = profile(create_account(first), f"account-{OTHER}")
        root = profile((data_dir / "credentials").read_text(), "default")
        if not two_servers:
            yield Deployment(servers=servers, root=root, other_root=other_root)
            return
        second_dir = data_dir.with_name("second")
        shutil.copytree(data_dir, second_dir)
        with ServerProcess(second_dir, database=database, options=options) as second:
            servers.append(Served(process=second))
            yield Deployment(servers=servers, root=root, other_root=other_root)


def create_account(server: ServerProcess) -> str:
    """Make a second account with the command line; return what it prints."""
    command = [sys.executable, "-m", "turnlock", "accounts", "create", "--account-id", OTHER]
    command += ["--data-dir", str(server.data_dir)]
    command += [] if server.database is None else ["--database", server.database]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def profile(text: str, name: str) -> Keys:
    parser = configparser.ConfigParser()
    parser.read_string(text)
    section = parser[name if name in parser else parser.sections()[0]]
    return Keys(
        access_key_id=section["aws_access_key_id"], secret_access_key=section["aws_secret_access_key"]
    )


# Users.


def test_a_user_reads_what_its_policy_allows_and_nothing_once_it_is_detached(deployment: Deployment) -> None:
    secret, beside = deployment.secret(), deployment.secret()
    name, keys = deployment.user()
    assert deployment.refused(keys, secret)[0] == "AccessDeniedException"
    policy = deployment.iam().create_policy(PolicyName=f"read-{name}", PolicyDocument=statement(GET, secret))[
        "Policy"
    ]["Arn"]
    for _ in range(3):
        deployment.iam().attach_user_policy(UserName=name, PolicyArn=policy)
        assert deployment.read(keys, secret) == "the value"
        deployment.iam().detach_user_policy(UserName=name, PolicyArn=policy)
        code, message = deployment.refused(keys, secret)
        assert code == "AccessDeniedException"
        assert message == (
            f"User: arn:aws:iam::{ACCOUNT}:user/{name} is not authorized to perform: {GET} on resource: {secret}"
            f" because no identity-based policy allows the {GET} action"
        )
    deployment.iam().attach_user_policy(UserName=name, PolicyArn=policy)
    assert deployment.refused(keys, beside)[0] == "AccessDeniedException"


def test_an_inactive_key_opens_nothing_from_the_next_request_on(deployment: Deployment) -> None:
    secret = deployment.secret()
    name, keys = deployment.user(statement(GET))
    turned = {"UserName": name, "AccessKeyId": keys.access_key_id}
    for _ in range(3):
        assert deployment.read(keys, secret) == "the value"
        deployment.iam().update_access_key(**turned, Status="Inactive")
        assert deployment.refused(keys, secret)[0] == "UnrecognizedClientException"
        deployment.iam().update_access_key(**turned, Status="Active")
    deployment.iam().delete_access_key(**turned)
    assert deployment.refused(keys, secret)[0] == "UnrecognizedClientException"


def test_a_group_and_a_boundary_and_a_denial_count_together(deployment: Deployment) -> None:
    secret = deployment.secret()
    name, keys = deployment.user()
    group = f"group-{name}"
    deployment.iam().create_group(GroupName=group)
    deployment.iam().put_group_policy(
        GroupName=group, PolicyName="p", PolicyDocument=statement("secretsmanager:*")
    )
    deployment.iam().add_user_to_group(GroupName=group, UserName=name)
    assert deployment.read(keys, secret) == "the value"
    deployment.iam().put_user_permissions_boundary(
        UserName=name,
        PermissionsBoundary=deployment.iam().create_policy(
            PolicyName=f"edge-{name}", PolicyDocument=statement("secretsmanager:ListSecrets")
        )["Policy"]["Arn"],
    )
    assert deployment.refused(keys, secret)[1].endswith(
        "because no permissions boundary allows the secretsmanager:GetSecretValue action"
    )
    deployment.iam().delete_user_permissions_boundary(UserName=name)
    assert deployment.read(keys, secret) == "the value"
    denial = statement(GET).replace("Allow", "Deny")
    deployment.iam().put_user_policy(UserName=name, PolicyName="no", PolicyDocument=denial)
    assert deployment.refused(keys, secret)[1].endswith("with an explicit deny in an identity-based policy")


def test_the_last_use_of_a_key_is_told(deployment: Deployment) -> None:
    name, keys = deployment.user(statement(GET))
    deployment.read(keys, deployment.secret())

    def told() -> dict[str, Any]:
        answer = deployment.iam().get_access_key_last_used(AccessKeyId=keys.access_key_id)
        assert answer["UserName"] == name
        used: dict[str, Any] = answer["AccessKeyLastUsed"]
        return used

    wait_until(lambda: "LastUsedDate" in told(), 60, "the last use")
    assert (told()["Region"], told()["ServiceName"]) == (REGION, "secretsmanager")


# Roles.


def test_a_role_is_assumed_and_reads_until_its_policy_is_gone(deployment: Deployment) -> None:
    secret = deployment.secret()
    name, keys = deployment.user()
    role = f"role-{name}"
    arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
    deployment.iam().create_role(
        RoleName=role, AssumeRolePolicyDocument=trust(f"arn:aws:iam::{ACCOUNT}:user/{name}")
    )
    deployment.iam().put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=statement(GET, secret))
    answer = deployment.client("sts", keys).assume_role(RoleArn=arn, RoleSessionName="s1")
    session = Keys.of(answer["Credentials"])
    assert deployment.client("sts", session).get_caller_identity()["Arn"] == (
        f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/s1"
    )
    assert deployment.read(session, secret) == "the value"
    deployment.iam().delete_role_policy(RoleName=role, PolicyName="p")
    assert deployment.refused(session, secret)[0] == "AccessDeniedException"
    deployment.iam().update_assume_role_policy(RoleName=role, PolicyDocument=trust(deployment.root_arn))
    with pytest.raises(ClientError) as caught:
        deployment.client("sts", keys).assume_role(RoleArn=arn, RoleSessionName="s1")
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("AccessDenied", 403)


def test_another_account_reads_with_a_customer_key_and_not_with_the_default_one(
    deployment: Deployment,
) -> None:
    """User guide, "Access from a different account": both sides must allow, and the key must be one that can be shared."""
    there = f"arn:aws:iam::{OTHER}:root"
    name = f"stranger-{uuid.uuid4().hex[:8]}"
    iam = deployment.iam(deployment.other_root)
    iam.create_user(UserName=name)
    iam.put_user_policy(
        UserName=name,
        PolicyName="p",
        PolicyDocument=statement([GET, "kms:Decrypt"]),
    )
    keys = Keys.of(iam.create_access_key(UserName=name)["AccessKey"])
    kms = deployment.client("kms")
    policy = json.loads(statement("kms:*", Principal={"AWS": deployment.root_arn}))
    policy["Statement"] = [
        policy["Statement"],
        {"Effect": "Allow", "Principal": {"AWS": there}, "Action": "kms:Decrypt", "Resource": "*"},
    ]
    key = kms.create_key(Policy=json.dumps(policy))["KeyMetadata"]["Arn"]
    default, secret = deployment.secret(), deployment.secret(KmsKeyId=key)
    for one in (default, secret):
        assert deployment.refused(keys, one)[0] == "AccessDeniedException"
        deployment.client("secretsmanager").put_resource_policy(
            SecretId=one, ResourcePolicy=statement(GET, Principal={"AWS": there})
        )
    assert deployment.read(keys, secret) == "the value"
    assert deployment.refused(keys, default) == (
        "InvalidRequestException",
        "You can't access a secret from a different AWS account if you encrypt the secret with the default KMS service key.",
    )
    iam.delete_user_policy(UserName=name, PolicyName="p")
    assert deployment.refused(keys, secret)[0] == "AccessDeniedException"


def test_a_role_of_another_account_is_assumed_where_both_sides_allow_it(deployment: Deployment) -> None:
    role = f"role-{uuid.uuid4().hex[:8]}"
    arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
    deployment.iam().create_role(RoleName=role, AssumeRolePolicyDocument=trust(f"arn:aws:iam::{OTHER}:root"))
    deployment.iam().attach_role_policy(RoleName=role, PolicyArn=ADMIN)
    iam = deployment.iam(deployment.other_root)
    iam.create_user(UserName=role)
    keys = Keys.of(iam.create_access_key(UserName=role)["AccessKey"])
    with pytest.raises(ClientError, match="no identity-based policy allows the sts:AssumeRole action"):
        deployment.client("sts", keys).assume_role(RoleArn=arn, RoleSessionName="s1")
    iam.put_user_policy(UserName=role, PolicyName="p", PolicyDocument=statement("sts:AssumeRole", arn))
    answer = deployment.client("sts", keys).assume_role(RoleArn=arn, RoleSessionName="s1")
    assert deployment.read(Keys.of(answer["Credentials"]), deployment.secret()) == "the value"


# Attributes.


def test_access_by_tags_of_the_caller_the_resource_and_the_request(deployment: Deployment) -> None:
    """IAM tutorial, "Define permissions to access AWS resources based on tags"."""
    same = {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}
    made = {
        "StringEquals": {"aws:RequestTag/team": "${aws:PrincipalTag/team}"},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]},
    }
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": GET,
                "Resource": "*",
                "Condition": same,
            },
            {
                "Effect": "Allow",
                "Action": ["secretsmanager:CreateSecret", "secretsmanager:TagResource"],
                "Resource": "*",
                "Condition": made,
            },
        ],
    }
    red = [{"Key": "team", "Value": "red"}]
    name, keys = deployment.user(json.dumps(policy), Tags=red)
    secret = deployment.secret(Tags=red)
    assert deployment.read(keys, secret) == "the value"
    assert deployment.refused(keys, deployment.secret())[0] == "AccessDeniedException"
    deployment.iam().tag_user(UserName=name, Tags=[{"Key": "team", "Value": "blue"}])
    assert deployment.refused(keys, secret)[0] == "AccessDeniedException"
    deployment.client("secretsmanager").tag_resource(SecretId=secret, Tags=[{"Key": "team", "Value": "blue"}])
    assert deployment.read(keys, secret) == "the value"
    blue = {"Key": "team", "Value": "blue"}
    client = deployment.client("secretsmanager", keys)
    client.create_secret(Name=f"abac/{name}", SecretString="x", Tags=[blue])
    for tags in ([], red, [blue, {"Key": "more", "Value": ""}]):
        with pytest.raises(ClientError, match="AccessDenied"):
            client.create_secret(Name=f"abac/{name}/2", SecretString="x", Tags=tags)


def test_tags_of_a_session_win_over_those_of_the_role(deployment: Deployment) -> None:
    same = {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}
    secret = deployment.secret(Tags=[{"Key": "team", "Value": "red"}])
    name, keys = deployment.user()
    user = f"arn:aws:iam::{ACCOUNT}:user/{name}"
    deployment.iam().create_role(
        RoleName=name,
        AssumeRolePolicyDocument=trust(user, ["sts:AssumeRole", "sts:TagSession"]),
        Tags=[{"Key": "team", "Value": "blue"}],
    )
    deployment.iam().put_role_policy(
        RoleName=name, PolicyName="p", PolicyDocument=statement("secretsmanager:*", Condition=same)
    )
    arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
    sts = deployment.client("sts", keys)
    plain = Keys.of(sts.assume_role(RoleArn=arn, RoleSessionName="s1")["Credentials"])
    assert deployment.refused(plain, secret)[0] == "AccessDeniedException"
    tagged = sts.assume_role(RoleArn=arn, RoleSessionName="s1", Tags=[{"Key": "team", "Value": "red"}])[
        "Credentials"
    ]
    assert deployment.read(Keys.of(tagged), secret) == "the value"


# Accounts.


def test_nothing_of_one_account_is_seen_by_another(deployment: Deployment) -> None:
    name, keys = deployment.user(statement(GET))
    secret = deployment.secret()
    iam, stranger = deployment.iam(), deployment.other_root
    policy = iam.create_policy(PolicyName=f"p-{name}", PolicyDocument=statement("*"))["Policy"]["Arn"]
    there = deployment.iam(stranger)
    assert name not in json.dumps(there.get_account_authorization_details(), default=str)
    for kind in ("users", "groups", "roles"):
        listed = getattr(there, f"list_{kind}")()[kind.title()]
        assert all(f":{OTHER}:" in one["Arn"] for one in listed)
    assert there.list_policies(Scope="Local")["Policies"] == []
    absent: list[Callable[[], object]] = [
        lambda: there.get_user(UserName=name),
        lambda: there.list_access_keys(UserName=name),
        lambda: there.get_access_key_last_used(AccessKeyId=keys.access_key_id),
    ]
    for ask in absent:
        with pytest.raises(ClientError) as caught:
            ask()
        assert caught.value.response["Error"]["Code"] == "NoSuchEntity"
    of_policy: list[Callable[[], object]] = [
        lambda: there.get_policy(PolicyArn=policy),
        lambda: there.attach_user_policy(UserName=name, PolicyArn=policy),
        lambda: there.delete_policy(PolicyArn=policy),
    ]
    for ask in of_policy:
        with pytest.raises(ClientError) as caught:
            ask()
        assert caught.value.response["Error"]["Code"] in {"AccessDenied", "NoSuchEntity"}
    secrets = deployment.client("secretsmanager", stranger)
    assert secrets.list_secrets()["SecretList"] == []
    assert deployment.refused(stranger, secret)[0] == "AccessDeniedException"
    with pytest.raises(ClientError) as caught:
        secrets.describe_secret(SecretId=secret.split(":")[6].rpartition("-")[0])
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert deployment.read(keys, secret) == "the value"


# The command.


def aws(deployment: Deployment, keys: Keys, *arguments: str) -> Any:
    """Run `aws` on the next server; return its JSON."""
    done = next(deployment.turn).aws(
        *arguments,
        "--output",
        "json",
        AWS_ACCESS_KEY_ID=keys.access_key_id,
        AWS_SECRET_ACCESS_KEY=keys.secret_access_key,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def test_the_command_makes_a_user_that_reads_a_secret(deployment: Deployment) -> None:
    secret, name = deployment.secret(), f"cli-{uuid.uuid4().hex[:8]}"
    root = deployment.root
    aws(deployment, root, "iam", "create-user", "--user-name", name, "--tags", "Key=team,Value=red")
    document = statement(GET, secret)
    put = ("--policy-name", "p", "--policy-document", document)
    aws(deployment, root, "iam", "put-user-policy", "--user-name", name, *put)
    key = Keys.of(aws(deployment, root, "iam", "create-access-key", "--user-name", name)["AccessKey"])
    got = aws(deployment, key, "secretsmanager", "get-secret-value", "--secret-id", secret)
    assert got["SecretString"] == "the value"


def test_errors_of_iam_have_the_codes_and_statuses_that_tools_look_for(deployment: Deployment) -> None:
    iam = deployment.iam()
    name, _ = deployment.user()
    cases: list[tuple[Callable[[], object], str, int]] = [
        (lambda: iam.get_user(UserName="nobody"), "NoSuchEntity", 404),
        (lambda: iam.create_user(UserName=name), "EntityAlreadyExists", 409),
        (lambda: iam.delete_user(UserName=name), "DeleteConflict", 409),
        (
            lambda: iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument="{}"),
            "MalformedPolicyDocument",
            400,
        ),
        (lambda: iam.create_user(UserName="a b"), "ValidationError", 400),
        (lambda: iam.delete_policy(PolicyArn=ADMIN), "InvalidInput", 400),
        (iam.list_server_certificates, "InvalidAction", 400),
    ]
    iam.create_access_key(UserName=name)
    cases.append((lambda: iam.create_access_key(UserName=name), "LimitExceeded", 409))
    for call, code, status in cases:
        with pytest.raises(ClientError) as caught:
            call()
        found = caught.value.response
        assert (found["Error"]["Code"], found["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


def test_iam_is_one_for_all_regions_whichever_a_client_signs(deployment: Deployment) -> None:
    """SDKs that are given an endpoint of their own sign their own Region, others us-east-1."""
    name, _ = deployment.user()
    for region in (REGION, "us-east-1"):
        root = deployment.root
        body = f"Action=GetUser&Version=2010-05-08&UserName={name}".encode()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        request = AWSRequest("POST", f"{next(deployment.turn).endpoint}/", form, data=body)
        credentials = Credentials(root.access_key_id, root.secret_access_key)
        SigV4Auth(credentials, "iam", region).add_auth(request)
        sent = Request(str(request.url), data=body, headers=dict(request.headers))
        with urlopen(sent, timeout=20) as answer:
            assert f":user/{name}</Arn>".encode() in answer.read()
