"""`turnlock explain` as an operator meets it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.calling import ACCOUNT, REGION
from turnlock import app
from turnlock.accounts import root_principal
from turnlock.cli import cli
from turnlock.config import Config
from turnlock.core.call import Call
from turnlock.errors import ConfigurationError
from turnlock.shell.gate import pass_through
from turnlock.storage import Unit

GET = "secretsmanager:GetSecretValue"
ANN = f"arn:aws:iam::{ACCOUNT}:user/ann"


class Place:
    """A data directory with an account, and its root user at work in it."""

    def __init__(self, data_dir: Path) -> None:
        config = Config(
            data_dir=data_dir, host="127.0.0.1", port=0, account_id=ACCOUNT, regions=frozenset({REGION})
        )
        app.initialise(config)
        self.data_dir = data_dir
        self.application = app.build(config)

    def do(self, service: str, operation: str, **request: Any) -> Any:
        call = Call(
            principal=root_principal(ACCOUNT),
            account_id=ACCOUNT,
            region=REGION,
            service=service,
            action=operation,
            request_id=str(uuid.uuid4()),
            source_ip="192.0.2.7",
            user_agent="t",
            at=self.application.database.read(lambda unit: unit.now),
        )

        def work(unit: Unit) -> Any:
            passage = app.services()[service].passages[operation]
            return pass_through(passage, call, request, unit)

        outcome = self.application.database.write(work)
        assert not isinstance(outcome, Exception), outcome
        return outcome

    def explain(self, *arguments: str) -> Result:
        given = ["explain", "--data-dir", str(self.data_dir), "--region", REGION, "--action", GET, *arguments]
        result = CliRunner().invoke(cli, given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "data")
    made.do("secretsmanager", "CreateSecret", Name="prod/db")
    made.do("iam", "CreateUser", UserName="ann")
    made.do("iam", "CreateUser", UserName="bob")
    yield made
    made.application.close()


def put(place: Place, user: str, *statements: dict[str, Any]) -> None:
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    place.do("iam", "PutUserPolicy", UserName=user, PolicyName="own", PolicyDocument=document)


def allow(**elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": GET, "Resource": "*", **elements}


def test_who_may_is_told_by_which_statement(place: Place) -> None:
    put(place, "ann", allow(Sid="Read"))
    result = place.explain("--principal", ANN, "--secret", "prod/db")
    assert result.exit_code == 0
    lines = [line.split(maxsplit=1) for line in result.output.splitlines()]
    assert lines[0] == ["ALLOWED", GET]
    assert dict(lines[1:]) == {
        "principal": ANN,
        "resource": lines[2][1],
        "because": "an identity-based policy allows it",
        "statement": f"1 (Read) of {ANN}/own",
    }
    assert ":secret:prod/db-" in lines[2][1]


def test_who_may_not_is_told_what_came_nearest(place: Place) -> None:
    put(place, "ann", allow(Condition={"StringEquals": {"aws:ResourceTag/Team": "red"}}))
    result = place.explain("--principal", ANN, "--secret", "prod/db")
    assert result.exit_code == 1
    assert result.output.startswith("DENIED")
    assert f"nearest    1 of {ANN}/own" in result.output
    assert "Condition StringEquals aws:ResourceTag/Team wants red: the call has no such key" in result.output


def test_keys_of_the_call_can_be_given(place: Place) -> None:
    put(place, "ann", allow(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}))
    asked = ("--principal", ANN, "--secret", "prod/db")
    assert place.explain(*asked).exit_code == 1
    assert place.explain(*asked, "--context", "aws:SourceIp=10.0.0.7").exit_code == 0


def test_everyone_who_can_is_listed(place: Place) -> None:
    put(place, "bob", allow())
    result = place.explain("--who", "--secret", "prod/db")
    assert result.exit_code == 0
    assert ANN not in result.output
    assert f"arn:aws:iam::{ACCOUNT}:user/bob" in result.output
    assert f"arn:aws:iam::{ACCOUNT}:root" in result.output
    assert result.output.splitlines()[-1] == "2 of 3 principals can do it."


def test_what_cannot_be_asked_is_refused(place: Place) -> None:
    given = ["explain", "--data-dir", str(place.data_dir), "--secret", "prod/db"]
    for arguments, sentence in (
        (["--action", GET, "--principal", ANN + "2"], "There is no user"),
        (["--action", "kms:Decrypt", "--principal", ANN], "is no action on secrets"),
        (["--action", "Nothing", "--principal", ANN], "is no action of this server"),
    ):
        result = CliRunner().invoke(cli, [*given, *arguments])
        assert isinstance(result.exception, ConfigurationError)
        assert sentence in result.exception.message
    assert CliRunner().invoke(cli, [*given, "--action", GET]).exit_code == 2


def test_without_the_right_to_the_key_a_value_is_not_to_be_had(place: Place) -> None:
    key = place.do("kms", "CreateKey")["KeyMetadata"]["KeyId"]
    place.do("secretsmanager", "CreateSecret", Name="own-key", KmsKeyId=key)
    put(place, "ann", allow())
    result = place.explain("--principal", ANN, "--secret", "own-key")
    assert result.exit_code == 1
    assert "ALLOWED  secretsmanager:GetSecretValue" in result.output
    assert "DENIED  kms:Decrypt" in result.output
    assert "Action is secretsmanager:GetSecretValue" in result.output
    put(place, "ann", allow(Action=[GET, "kms:Decrypt"]))
    assert place.explain("--principal", ANN, "--secret", "own-key").exit_code == 0
