"""Lambda's actions on both stores, through the gate."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.calling import refusal
from tests.functions.api.calling import ACCOUNT, REGION, ROLE, Caller, package
from tests.iam.calling import user_principal
from turnlock.core.arn import Region
from turnlock.core.call import Principal, PrincipalKind
from turnlock.errors import AccessDeniedException, InternalServiceError, ResourceNotFoundException
from turnlock.functions import HOSTED as ALL_HOSTED
from turnlock.functions.api import creating
from turnlock.functions.api.tables import function_code, function_versions
from turnlock.shell.admission import Service
from turnlock.storage import Database
from turnlock.wire import Contract
from turnlock.wire.not_served import PATTERNS, not_served

MANAGED = "RDSManagedMasterUserRotation"
HOSTED = ALL_HOSTED.keys() - {MANAGED}
"""What is shown: the function of managed master passwords is no user's, as on AWS."""

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:echo"
Create = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("service", ["lambda", "logs"])
def test_each_operation_has_a_handler_or_a_reason(services: dict[str, Service], service: str) -> None:
    modelled = set(Contract.load(service).operations)
    handled = set(services[service].passages)
    assert modelled - handled - not_served(service).keys() == set()
    assert not handled & PATTERNS[service].keys()


def test_what_only_reads_is_said_to_only_read(services: dict[str, Service]) -> None:
    for name, passage in services["lambda"].passages.items():
        assert passage.action.mutates is not name.startswith(("Get", "List")), name


def test_a_function_is_shown_as_it_was_made(create: Create, root: Caller) -> None:
    code = package({"main.py": "x = 1"})
    made = create(
        Code={"ZipFile": code},
        Description="rotates",
        Timeout=20,
        MemorySize=256,
        Environment={"Variables": {"PASSWORD_LENGTH": "40"}},
        Tags={"team": "db"},
        VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": []},
    )
    assert made["FunctionArn"] == ARN
    assert made["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode()
    assert (made["State"], made["LastUpdateStatus"], made["Version"]) == ("Active", "Successful", "$LATEST")
    assert made["Environment"] == {"Variables": {"PASSWORD_LENGTH": "40"}}
    for name in ("echo", ARN, f"{ACCOUNT}:function:echo"):
        found = root("GetFunction", FunctionName=name)
        assert found["Configuration"] == made
        assert found["Tags"] == {"team": "db"}
    assert root("GetFunctionConfiguration", FunctionName="echo") == made
    assert root("ListFunctions")["Functions"][0] == made
    assert (
        root("GetFunction", FunctionName=f"{ARN}:$LATEST")["Configuration"]["FunctionArn"] == f"{ARN}:$LATEST"
    )


def test_variables_are_sealed(create: Create, store: Database) -> None:
    create(Environment={"Variables": {"TOKEN": "hunter2-value"}})
    rows = store.read(lambda unit: unit.connection.execute(select(function_versions)).all())
    assert rows
    assert "hunter2-value" not in repr(rows)
    assert base64.b64encode(b"hunter2-value").decode() not in repr(rows)


def test_a_record_shows_neither_package_nor_variables(create: Create, root: Caller) -> None:
    create(Environment={"Variables": {"TOKEN": "hunter2-value"}})
    (record,) = [one for one in root.records if one["eventName"].startswith("CreateFunction")]
    assert "hunter2-value" not in json.dumps(record)
    assert "zipFile" not in json.dumps(record)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Code": {"ZipFile": b"no zip"}}, "Could not unzip uploaded file"),
        ({"Code": {"S3Bucket": "bucket", "S3Key": "key"}}, "S3 and container registries are not served"),
        ({"Runtime": "java21"}, "The runtime java21 is not served"),
        ({"Role": "arn:aws:iam::123456789012:role/absent"}, "cannot be assumed by Lambda"),
        ({"Layers": ["arn:aws:lambda:eu-central-1:123456789012:layer:x:1"]}, "Layers is not supported"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "reserved keys"),
        ({"Environment": {"Variables": {"BIG": "x" * 5000}}}, "exceeded the 4KB limit"),
        ({"Timeout": 901}, "at most 900 seconds"),
    ],
)
def test_what_cannot_be_run_is_not_made(create: Create, changes: dict[str, Any], words: str) -> None:
    code, message = refusal(lambda: create(**changes))
    assert code == "InvalidParameterValueException"
    assert words in message


def test_a_role_that_does_not_trust_lambda_is_refused(create: Create, root: Caller) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    iam = root.elsewhere(service="iam")
    role = iam("CreateRole", RoleName="machines", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    assert "cannot be assumed by Lambda" in refusal(lambda: create(Role=role))[1]


def test_who_makes_a_function_must_be_allowed_to_pass_its_role(root: Caller) -> None:
    iam = root.elsewhere(service="iam")
    user = iam("CreateUser", UserName="dev")["User"]
    rights: dict[str, Any] = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}],
    }
    iam("PutUserPolicy", UserName="dev", PolicyName="p", PolicyDocument=json.dumps(rights))
    dev = root.elsewhere(
        principal=Principal(
            kind=PrincipalKind.USER, arn=user["Arn"], account_id=ACCOUNT, principal_id=user["UserId"]
        )
    )
    make = partial(
        dev,
        "CreateFunction",
        FunctionName="echo",
        Runtime="python3.11",
        Role=ROLE,
        Handler="main.handler",
        Code={"ZipFile": package({"main.py": ""})},
    )
    with pytest.raises(AccessDeniedException, match="iam:PassRole"):
        make()
    rights["Statement"].append(
        {
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": ROLE,
            "Condition": {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
        }
    )
    iam("PutUserPolicy", UserName="dev", PolicyName="p", PolicyDocument=json.dumps(rights))
    assert make()["State"] == "Active"


def test_a_name_is_taken_once(create: Create, root: Caller) -> None:
    create()
    assert refusal(create)[0] == "ResourceConflictException"
    hosted = "SecretsManagerRDSPostgreSQLRotationSingleUser"
    assert refusal(lambda: create(hosted))[0] == "ResourceConflictException"
    elsewhere = root.elsewhere(region=Region("eu-west-1"))
    with pytest.raises(ResourceNotFoundException):
        elsewhere("GetFunction", FunctionName="echo")


def test_code_and_settings_are_changed_under_the_revision_that_was_read(create: Create, root: Caller) -> None:
    made = create()
    after = root("UpdateFunctionCode", FunctionName="echo", ZipFile=package({"main.py": "y = 2"}))
    assert after["CodeSha256"] != made["CodeSha256"]
    assert after["RevisionId"] != made["RevisionId"]
    changed = root(
        "UpdateFunctionConfiguration", FunctionName="echo", Timeout=7, Environment={"Variables": {}}
    )
    assert (changed["Timeout"], "Environment" in changed) == (7, False)
    stale = partial(
        root, "UpdateFunctionConfiguration", FunctionName="echo", Timeout=8, RevisionId=made["RevisionId"]
    )
    assert refusal(stale)[0] == "PreconditionFailedException"


def test_a_dry_run_changes_nothing(create: Create, root: Caller) -> None:
    made = create()
    root("UpdateFunctionCode", FunctionName="echo", ZipFile=package({"main.py": "y = 2"}), DryRun=True)
    assert root("GetFunctionConfiguration", FunctionName="echo") == made


def test_versions_are_numbered_and_stay_what_they_were(create: Create, root: Caller) -> None:
    made = create(Publish=True)
    assert (made["Version"], made["FunctionArn"]) == ("1", f"{ARN}:1")
    assert root("PublishVersion", FunctionName="echo")["Version"] == "1", "nothing has changed"
    root("UpdateFunctionConfiguration", FunctionName="echo", Timeout=9)
    assert root("PublishVersion", FunctionName="echo", Description="second")["Version"] == "2"
    versions = root("ListVersionsByFunction", FunctionName="echo")["Versions"]
    assert [(one["Version"], one["Timeout"]) for one in versions] == [("$LATEST", 9), ("1", 3), ("2", 9)]
    assert root("GetFunctionConfiguration", FunctionName="echo", Qualifier="1")["Timeout"] == 3
    root("DeleteFunction", FunctionName="echo", Qualifier="2")
    root("UpdateFunctionConfiguration", FunctionName="echo", Timeout=10)
    assert root("PublishVersion", FunctionName="echo")["Version"] == "3", "no number is used twice"


def test_an_alias_stands_for_a_version(create: Create, root: Caller) -> None:
    create(Publish=True)
    made = root("CreateAlias", FunctionName="echo", Name="live", FunctionVersion="1")
    assert made["AliasArn"] == f"{ARN}:live"
    assert root("GetFunctionConfiguration", FunctionName=f"{ARN}:live")["Version"] == "1"
    assert refusal(lambda: root("DeleteFunction", FunctionName="echo", Qualifier="1"))[0] == (
        "ResourceConflictException"
    )
    moved = root("UpdateAlias", FunctionName="echo", Name="live", FunctionVersion="$LATEST")
    assert moved == root("GetAlias", FunctionName="echo", Name="live")
    assert root("ListAliases", FunctionName="echo")["Aliases"] == [moved]
    root("DeleteAlias", FunctionName="echo", Name="live")
    assert (
        refusal(lambda: root("GetAlias", FunctionName="echo", Name="live"))[0] == "ResourceNotFoundException"
    )


def test_a_deleted_function_leaves_nothing(create: Create, root: Caller, store: Database) -> None:
    create(Publish=True)
    root("CreateAlias", FunctionName="echo", Name="live", FunctionVersion="1")
    assert root("DeleteFunction", FunctionName="echo") == {"StatusCode": 204}
    with pytest.raises(ResourceNotFoundException):
        root("GetFunction", FunctionName="echo")
    rows = store.read(lambda unit: unit.connection.execute(select(function_code.c.code_id)).all())
    assert rows == []
    create()
    assert root("ListAliases", FunctionName="echo")["Aliases"] == []


def test_code_that_two_functions_share_goes_with_the_last_of_them(
    create: Create, root: Caller, store: Database
) -> None:
    create("one")
    create("two")

    def codes() -> int:
        return len(store.read(lambda unit: unit.connection.execute(select(function_code.c.code_id)).all()))

    assert codes() == 1
    root("DeleteFunction", FunctionName="one")
    assert codes() == 1
    root("DeleteFunction", FunctionName="two")
    assert codes() == 0


def test_a_policy_grows_and_shrinks_by_statements(create: Create, root: Caller) -> None:
    create()
    add = partial(
        root,
        "AddPermission",
        FunctionName="echo",
        StatementId="sm",
        Action="lambda:InvokeFunction",
        Principal="secretsmanager.amazonaws.com",
        SourceAccount=ACCOUNT,
        SourceArn="arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-*",
    )
    statement = json.loads(add()["Statement"])
    assert statement == {
        "Sid": "sm",
        "Effect": "Allow",
        "Principal": {"Service": "secretsmanager.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": ARN,
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": ACCOUNT},
            "ArnLike": {"AWS:SourceArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-*"},
        },
    }
    assert json.loads(root("GetPolicy", FunctionName="echo")["Policy"])["Statement"] == [statement]
    assert refusal(add)[0] == "ResourceConflictException"
    root("RemovePermission", FunctionName="echo", StatementId="sm")
    assert refusal(lambda: root("GetPolicy", FunctionName="echo"))[0] == "ResourceNotFoundException"
    again = partial(root, "RemovePermission", FunctionName="echo", StatementId="sm")
    assert refusal(again)[0] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("principal", "written"),
    [
        ("210987654321", {"AWS": "arn:aws:iam::210987654321:root"}),
        ("arn:aws:iam::555555555555:user/x", {"AWS": "arn:aws:iam::555555555555:user/x"}),
        ("*", "*"),
    ],
)
def test_principals_are_written_as_aws_writes_them(
    create: Create, root: Caller, principal: str, written: Any
) -> None:
    create()
    made = root(
        "AddPermission",
        FunctionName="echo",
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal=principal,
    )
    assert json.loads(made["Statement"])["Principal"] == written


def test_a_permission_is_for_the_user_that_it_was_given_to(create: Create, root: Caller) -> None:
    create()
    iam, arn = root.elsewhere(service="iam"), "arn:aws:iam::123456789012:user/ann"
    add = partial(
        root,
        "AddPermission",
        FunctionName="echo",
        StatementId="s",
        Action="lambda:GetFunction",
        Principal=arn,
    )
    assert refusal(add) == (
        "InvalidParameterValueException",
        "The provided principal was invalid. Please check the principal and try again.",
    )

    def make() -> Caller:
        made = iam("CreateUser", UserName="ann")["User"]
        return root.elsewhere(principal=user_principal(made))

    old = make()
    assert json.loads(add()["Statement"])["Principal"] == {"AWS": arn}
    assert json.loads(root("GetPolicy", FunctionName="echo")["Policy"])["Statement"][0]["Principal"] == {
        "AWS": arn
    }
    old("GetFunction", FunctionName="echo")
    iam("DeleteUser", UserName="ann")
    assert refusal(lambda: make()("GetFunction", FunctionName="echo"))[0] == "AccessDeniedException"
    shown = json.loads(root("GetPolicy", FunctionName="echo")["Policy"])
    assert shown["Statement"][0]["Principal"] == {"AWS": old.principal.principal_id}


def test_a_principal_that_is_none_is_refused(create: Create, root: Caller) -> None:
    create()
    add = partial(
        root,
        "AddPermission",
        FunctionName="echo",
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal="somebody",
    )
    assert refusal(add)[0] == "InvalidParameterValueException"


def test_tags_and_concurrency(create: Create, root: Caller) -> None:
    create(Tags={"a": "1", "b": "2"})
    root("TagResource", Resource=ARN, Tags={"b": "3", "c": "4"})
    root("UntagResource", Resource=ARN, TagKeys=["a"])
    assert root("ListTags", Resource=ARN) == {"Tags": {"b": "3", "c": "4"}}
    root("PutFunctionConcurrency", FunctionName="echo", ReservedConcurrentExecutions=2)
    assert root("GetFunction", FunctionName="echo")["Concurrency"] == {"ReservedConcurrentExecutions": 2}
    root("DeleteFunctionConcurrency", FunctionName="echo")
    assert root("GetFunctionConcurrency", FunctionName="echo") == {}


def test_what_terraform_reads_is_answered(create: Create, root: Caller) -> None:
    create()
    assert root("GetFunctionCodeSigningConfig", FunctionName="echo")["FunctionName"] == "echo"
    assert root("GetRuntimeManagementConfig", FunctionName="echo")["UpdateRuntimeOn"] == "Auto"
    assert root("GetFunctionRecursionConfig", FunctionName="echo")
    assert root("GetAccountSettings")["AccountUsage"]["FunctionCount"] == 1
    assert refusal(lambda: root("GetFunctionEventInvokeConfig", FunctionName="echo"))[0] == (
        "ResourceNotFoundException"
    )


def test_lists_come_in_pages(create: Create, root: Caller) -> None:
    for number in range(5):
        create(f"f{number}")
    names: list[str] = []
    marker: dict[str, str] = {}
    while True:
        page = root("ListFunctions", MaxItems=2, **marker)
        names += [one["FunctionName"] for one in page["Functions"]]
        if "NextMarker" not in page:
            break
        marker = {"Marker": page["NextMarker"]}
    assert Counter(names) == Counter([*(f"f{number}" for number in range(5)), *HOSTED])
    assert refusal(lambda: root("ListFunctions", Marker="x"))[0] == "InvalidParameterValueException"


def test_a_row_that_was_changed_by_hand_is_an_alarm(create: Create, root: Caller, store: Database) -> None:
    create()
    store.write(
        lambda unit: unit.connection.execute(
            update(function_versions).values(body=function_versions.c.body + " ")
        )
    )
    with pytest.raises(InternalServiceError):
        root("GetFunction", FunctionName="echo")


def test_there_is_a_bound_to_how_many(create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(creating, "MOST_FUNCTIONS", 1)
    create("one")
    assert refusal(lambda: create("two"))[0] == "InvalidParameterValueException"


HOSTED_ARN = "arn:aws:lambda:eu-central-1:123456789012:function:SecretsManagerRDSPostgreSQLRotationSingleUser"


def test_hosted_functions_are_shown_where_tools_look_them_up(create: Create, root: Caller) -> None:
    create()
    for named in (HOSTED_ARN, HOSTED_ARN.rpartition(":")[2]):
        shown = root("GetFunction", FunctionName=named)["Configuration"]
        assert shown["FunctionArn"] == HOSTED_ARN
        assert root("GetFunctionConfiguration", FunctionName=named) == shown
        assert (shown["State"], shown["Version"]) == ("Active", "$LATEST")
    qualified = root("GetFunction", FunctionName=HOSTED_ARN, Qualifier="$LATEST")["Configuration"]
    assert qualified["FunctionArn"] == f"{HOSTED_ARN}:$LATEST"
    listed = [one["FunctionName"] for one in root("ListFunctions")["Functions"]]
    assert listed == ["echo", *sorted(HOSTED)]
    for absent in (
        MANAGED,
        f"{HOSTED_ARN}:1",
        HOSTED_ARN.replace("eu-central-1", "us-east-1"),
        f"{HOSTED_ARN}x",
    ):
        assert refusal(partial(root, "GetFunction", FunctionName=absent))[0] == "ResourceNotFoundException"


def test_what_tools_read_beside_a_hosted_function_is_answered(root: Caller) -> None:
    # Terraform's data source asks for the versions and the code signing of what GetFunction shows.
    name = HOSTED_ARN.rpartition(":")[2]
    (version,) = root("ListVersionsByFunction", FunctionName=name)["Versions"]
    assert (version["Version"], version["FunctionArn"]) == ("$LATEST", f"{HOSTED_ARN}:$LATEST")
    assert root("ListAliases", FunctionName=name) == {"Aliases": []}
    assert root("ListTags", Resource=HOSTED_ARN) == {"Tags": {}}
    assert root("GetFunctionConcurrency", FunctionName=name) == {}
    assert root("GetFunctionCodeSigningConfig", FunctionName=name)["FunctionName"] == name
    assert root("GetFunctionRecursionConfig", FunctionName=name) == {"RecursiveLoop": "Allow"}
    assert root("GetRuntimeManagementConfig", FunctionName=name)["FunctionArn"] == f"{HOSTED_ARN}:$LATEST"
    for changing in ("DeleteFunction", "PublishVersion"):
        assert refusal(partial(root, changing, FunctionName=name))[0] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("operation", "member"),
    [("ListEventSourceMappings", "EventSourceMappings"), ("ListLayers", "Layers")],
)
def test_what_no_function_has_is_an_empty_list(root: Caller, operation: str, member: str) -> None:
    assert root(operation) == {member: []}
    assert root("ListLayerVersions", LayerName="absent") == {"LayerVersions": []}


def test_source_that_is_interpreted_may_say_any_architecture(create: Create, root: Caller) -> None:
    shown = create(Architectures=["arm64"])
    assert shown["Architectures"] == ["arm64"]
    assert root("GetFunctionConfiguration", FunctionName="echo")["Architectures"] == ["arm64"]
    again = root(
        "UpdateFunctionCode",
        FunctionName="echo",
        ZipFile=package({"main.py": "x = 1"}),
        Architectures=["x86_64"],
    )
    assert again["Architectures"] == ["x86_64"]
