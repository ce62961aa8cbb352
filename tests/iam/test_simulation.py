"""The policy simulator, on each store through the gate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from tests.calling import ACCOUNT, Client, refusal
from tests.iam import calling
from tests.support import SettableClock, StorePlace
from turnlock.errors import InvalidInputException, PolicyEvaluationException
from turnlock.iam import IAM_ACTIONS, SIMULATE_ACTIONS
from turnlock.shell.admission import Service
from turnlock.trail import TrailTable

GET = "secretsmanager:GetSecretValue"
SECRET = f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:db-AbCdEf"
ANN = f"arn:aws:iam::{ACCOUNT}:user/ann"


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str = GET, **elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": "*", **elements}


@pytest.fixture
def client(store_place: StorePlace) -> Client:
    chains, clock = count(1), SettableClock()
    database = store_place.open(clock=clock, sink=lambda: TrailTable(f"w{next(chains)}"))
    service = Service.of("iam", (*IAM_ACTIONS, *SIMULATE_ACTIONS))
    return Client(database=database, clock=clock, service=service)


def call(client: Client, operation: str, **request: Any) -> Any:
    """Call an IAM action with its request as a parsed one: the query protocol has tests of its own."""
    outcome = client.through(client.service.passages[operation], request)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def simulate(client: Client, *policies: str, **request: Any) -> dict[str, Any]:
    whole = {"PolicyInputList": list(policies), "ActionNames": [GET], **request}
    (result,) = call(client, "SimulateCustomPolicy", **whole)["EvaluationResults"]
    found: dict[str, Any] = result
    return found


def test_there_are_four_simulations() -> None:
    assert {action.name for action in SIMULATE_ACTIONS} == {
        "GetContextKeysForCustomPolicy",
        "GetContextKeysForPrincipalPolicy",
        "SimulateCustomPolicy",
        "SimulatePrincipalPolicy",
    }


@pytest.mark.parametrize(
    ("policies", "decision"),
    [
        ([], "implicitDeny"),
        ([document(allow())], "allowed"),
        ([document(allow("kms:*"))], "implicitDeny"),
        ([document(allow()), document({**allow(), "Effect": "Deny"})], "explicitDeny"),
    ],
)
def test_custom_policies_decide(client: Client, policies: list[str], decision: str) -> None:
    result = simulate(client, *policies)
    assert (result["EvalActionName"], result["EvalResourceName"]) == (GET, "*")
    assert result["EvalDecision"] == decision


def test_the_statement_that_decides_is_named(client: Client) -> None:
    result = simulate(client, document(allow("kms:*")), document(allow()))
    assert result["MatchedStatements"] == [
        {"SourcePolicyId": "PolicyInputList.2", "SourcePolicyType": "IAM Policy"}
    ]


def test_each_action_is_decided_on_each_resource_by_pages(client: Client) -> None:
    request = {
        "PolicyInputList": [document(allow(Resource=SECRET))],
        "ActionNames": [GET, "kms:Decrypt"],
        "ResourceArns": [SECRET, SECRET + "x"],
        "MaxItems": 3,
    }
    first = call(client, "SimulateCustomPolicy", **request)
    assert first["IsTruncated"]
    second = call(client, "SimulateCustomPolicy", **request, Marker=first["Marker"])
    results = [*first["EvaluationResults"], *second["EvaluationResults"]]
    assert [(one["EvalActionName"], one["EvalResourceName"], one["EvalDecision"]) for one in results] == [
        (GET, SECRET, "allowed"),
        (GET, SECRET + "x", "implicitDeny"),
        ("kms:Decrypt", SECRET, "implicitDeny"),
        ("kms:Decrypt", SECRET + "x", "implicitDeny"),
    ]


def test_keys_are_those_of_the_entries_and_missing_ones_are_told(client: Client) -> None:
    policy = document(allow(Condition={"StringEquals": {"aws:ResourceTag/Team": "red"}}))
    missing = simulate(client, policy)
    assert (missing["EvalDecision"], missing["MissingContextValues"]) == (
        "implicitDeny",
        ["aws:ResourceTag/Team"],
    )
    entry = {
        "ContextKeyName": "aws:resourcetag/team",
        "ContextKeyValues": ["red"],
        "ContextKeyType": "string",
    }
    given = simulate(client, policy, ContextEntries=[entry])
    assert (given["EvalDecision"], given["MissingContextValues"]) == ("allowed", [])


def test_a_boundary_is_reported(client: Client) -> None:
    narrow, wide = document(allow("kms:*")), document(allow())
    for boundary, allowed in ((narrow, False), (wide, True)):
        result = simulate(client, wide, PermissionsBoundaryPolicyInputList=[boundary])
        assert result["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": allowed}
        assert result["EvalDecision"] == ("allowed" if allowed else "implicitDeny")


def test_a_resource_policy_needs_a_caller_and_lets_it_in(client: Client) -> None:
    policy = document({"Effect": "Allow", "Principal": {"AWS": ANN}, "Action": GET, "Resource": "*"})
    code, _ = refusal(lambda: simulate(client, ResourcePolicy=policy))
    assert code == "InvalidInputException"
    assert simulate(client, ResourcePolicy=policy, CallerArn=ANN)["EvalDecision"] == "allowed"
    assert simulate(client, ResourcePolicy=policy, CallerArn=ANN + "2")["EvalDecision"] == "implicitDeny"
    theirs = {"ResourcePolicy": policy, "CallerArn": ANN, "ResourceOwner": "210987654321"}
    assert simulate(client, **theirs)["EvalDecision"] == "implicitDeny"
    assert simulate(client, document(allow()), **theirs)["EvalDecision"] == "allowed"


@pytest.mark.parametrize(
    "request_",
    [
        {"PolicyInputList": ["no policy"]},
        {"PolicyInputList": [], "PermissionsBoundaryPolicyInputList": [document(allow())] * 2},
        {"PolicyInputList": [], "CallerArn": f"arn:aws:iam::{ACCOUNT}:role/r"},
        {"PolicyInputList": [], "CallerArn": "ann"},
    ],
)
def test_what_cannot_be_simulated_is_refused(client: Client, request_: dict[str, Any]) -> None:
    code, _ = refusal(lambda: call(client, "SimulateCustomPolicy", ActionNames=[GET], **request_))
    assert code == "InvalidInputException"


def test_an_identitys_own_policies_decide(client: Client) -> None:
    call(client, "CreateUser", UserName="ann")
    call(client, "CreateGroup", GroupName="readers")
    call(client, "AddUserToGroup", UserName="ann", GroupName="readers")
    own = document(allow(Resource=SECRET[:-9] + "${aws:username}*"))
    call(client, "PutGroupPolicy", GroupName="readers", PolicyName="p", PolicyDocument=own)

    def decided(source: str, resource: str, **more: Any) -> str:
        request = {"PolicySourceArn": source, "ActionNames": [GET], "ResourceArns": [resource], **more}
        (result,) = call(client, "SimulatePrincipalPolicy", **request)["EvaluationResults"]
        return str(result["EvalDecision"])

    assert decided(ANN, SECRET[:-9] + "ann-AbCdEf") == "allowed"
    assert decided(ANN, SECRET) == "implicitDeny"
    assert decided(ANN, SECRET, PolicyInputList=[document(allow())]) == "allowed"
    group = ANN.replace("user/ann", "group/readers")
    assert decided(group, SECRET) == "implicitDeny"
    keys = call(client, "GetContextKeysForPrincipalPolicy", PolicySourceArn=group)
    assert keys == {"ContextKeyNames": ["aws:username"]}
    assert refusal(lambda: decided(ANN + "2", SECRET))[0] == "NoSuchEntityException"


def test_the_keys_that_policies_ask_for(client: Client) -> None:
    policy = document(
        allow(
            Resource="arn:aws:secretsmanager:*:*:secret:${aws:PrincipalTag/team, 'none'}/a${*}",
            Condition={"StringEquals": {"aws:SourceVpc": "${aws:userid}"}, "Bool": {"AWS:SourceVPC": "true"}},
        )
    )
    assert call(client, "GetContextKeysForCustomPolicy", PolicyInputList=[policy]) == {
        "ContextKeyNames": ["aws:PrincipalTag/team", "aws:SourceVpc", "aws:userid"]
    }


def test_an_sdk_reads_the_answers(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(calling.SERVICES, "iam", client.service)
    iam = calling.Caller(database=client.database)
    iam("CreateUser", UserName="ann")
    iam("PutUserPolicy", UserName="ann", PolicyName="own", PolicyDocument=document(allow()))
    entry = {"ContextKeyName": "aws:SourceIp", "ContextKeyValues": ["10.0.0.7"], "ContextKeyType": "ip"}
    answer = iam("SimulatePrincipalPolicy", PolicySourceArn=ANN, ActionNames=[GET], ContextEntries=[entry])
    (result,) = answer["EvaluationResults"]
    assert answer["IsTruncated"] is False
    assert (result["EvalDecision"], result["EvalResourceName"]) == ("allowed", "*")
    assert result["MatchedStatements"] == [{"SourcePolicyId": f"{ANN}/own", "SourcePolicyType": "IAM Policy"}]
    assert result["MissingContextValues"] == []
    keys = iam("GetContextKeysForCustomPolicy", PolicyInputList=[document(allow())])
    assert keys["ContextKeyNames"] == []


def heavy(count_: int) -> str:
    """Return a policy of so many patterns that look at a key with many values."""
    patterns = [f"*a?a*b{number:x}" for number in range(count_)]
    denied = {**allow(), "Effect": "Deny", "Condition": {"StringLike": {"x:many": patterns}}}
    return document(denied, allow())


MANY = [{"ContextKeyName": "x:many", "ContextKeyType": "stringList", "ContextKeyValues": ["a" * 250] * 200}]


def test_a_result_that_takes_more_work_than_a_request_may_cost_is_awss_error(client: Client) -> None:
    assert simulate(client, heavy(500))["EvalDecision"] == "allowed"
    with pytest.raises(PolicyEvaluationException, match="more work than one request may cost"):
        simulate(client, heavy(500), ContextEntries=MANY)
    client.clock.advance(timedelta(seconds=1))
    make_user(client, heavy(500))
    with pytest.raises(PolicyEvaluationException, match="more work than one request may cost"):
        call(client, "SimulatePrincipalPolicy", PolicySourceArn=ANN, ActionNames=[GET], ContextEntries=MANY)


def make_user(client: Client, policy: str) -> None:
    call(client, "CreateUser", UserName="ann")
    call(client, "PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document(allow()))
    made = call(client, "CreatePolicy", PolicyName="heavy", PolicyDocument=policy)["Policy"]
    call(client, "AttachUserPolicy", UserName="ann", PolicyArn=made["Arn"])


def test_a_page_ends_before_the_work_is_spent_and_its_marker_leads_on(client: Client) -> None:
    actions = [f"secretsmanager:A{number:04}" for number in range(1_000)]
    request = {"PolicyInputList": [heavy(100)], "ActionNames": actions, "MaxItems": 1_000}
    found: list[str] = []
    pages, marker = 0, None
    while marker is not None or not pages:
        answer = call(
            client, "SimulateCustomPolicy", **request, **({} if marker is None else {"Marker": marker})
        )
        found += [result["EvalActionName"] for result in answer["EvaluationResults"]]
        pages, marker = pages + 1, answer["Marker"]
        assert (marker is not None) == answer["IsTruncated"]
    assert found == actions
    assert pages > 1


def test_more_pairs_of_actions_and_resources_than_can_be_told_apart_are_refused_before_they_are_made(
    client: Client,
) -> None:
    names = [f"secretsmanager:A{number}" for number in range(3_000)]
    with pytest.raises(PolicyEvaluationException):
        call(client, "SimulateCustomPolicy", PolicyInputList=[], ActionNames=names, ResourceArns=names)


def test_keys_are_not_looked_for_in_more_text_than_a_request_may_have_read(client: Client) -> None:
    keys = call(client, "GetContextKeysForCustomPolicy", PolicyInputList=[heavy(500)])["ContextKeyNames"]
    assert keys == ["x:many"]
    with pytest.raises(InvalidInputException, match="more work than one request may cost"):
        call(client, "GetContextKeysForCustomPolicy", PolicyInputList=[heavy(1_500)] * 9)


def test_entries_of_one_key_are_joined(client: Client) -> None:
    denied = {**allow(), "Effect": "Deny", "Condition": {"StringEquals": {"x:k": "a"}}}
    entries = [
        {"ContextKeyName": name, "ContextKeyType": "string", "ContextKeyValues": [value]}
        for name, value in (("x:k", "a"), ("X:K", "b"))
    ]
    assert (
        simulate(client, document(denied, allow()), ContextEntries=entries)["EvalDecision"] == "explicitDeny"
    )
