"""AssumeRoleWithWebIdentity: an unsigned request, a believed token, a trust policy that names the subject."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.calling import refusal
from tests.iam.calling import ACCOUNT, OTHER, SERVICES, Caller
from tests.issuer import key_set, new_key, sign
from tests.support import SettableClock, StorePlace
from turnlock import accounts
from turnlock.accounts.credentials import find_credential
from turnlock.core.action import Answer
from turnlock.core.arn import Region
from turnlock.core.call import PrincipalKind
from turnlock.errors import (
    AccessDeniedException,
    ApiError,
    EgressFailed,
    IDPCommunicationErrorException,
    InvalidIdentityTokenException,
    MissingAuthenticationTokenException,
)
from turnlock.iam import KeysWanted, ProviderKeys
from turnlock.iam.providers.store import find_provider
from turnlock.shell.admission import Admission, Admitted
from turnlock.shell.gate import pass_through
from turnlock.storage import Database, Unit
from turnlock.wire import HttpRequest

URL = "token.example.com/main"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{URL}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/deployer"
KEY, NEXT = new_key(), new_key(key_id="k2")
SUBJECT = {"StringEquals": {f"{URL}:sub": "repo:main", f"{URL}:aud": "turnlock"}}


def trust(condition: object = SUBJECT, action: object = "sts:AssumeRoleWithWebIdentity") -> str:
    statement = {"Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": action}
    more = {} if condition is None else {"Condition": condition}
    return json.dumps({"Version": "2012-10-17", "Statement": {**statement, **more}})


class Published:
    """What the provider's host answers, and how often it was asked."""

    def __init__(self) -> None:
        self.keys = [KEY]
        self.configuration: object = {"issuer": f"https://{URL}", "jwks_uri": "https://keys.example.com/set"}
        self.asked: list[str] = []
        self.down = False

    def get(self, url: str, *, thumbprints: Collection[str] = ()) -> bytes:
        self.asked.append(url)
        assert thumbprints == ("f" * 40,)
        if self.down:
            raise EgressFailed
        if url == f"https://{URL}/.well-known/openid-configuration":
            return json.dumps(self.configuration).encode()
        assert url == "https://keys.example.com/set"
        return key_set(*self.keys).encode()


class Workload:
    """Whoever has a token, on a server whose keys of providers come from `published`."""

    def __init__(self, database: Database, published: Published, clock: SettableClock) -> None:
        self.published = published
        self.keys = ProviderKeys(published.get)
        self.database, self._clock = database, clock
        self._admission = Admission(SERVICES, frozenset({Region("eu-central-1")}))
        self.records: list[dict[str, Any]] = []

    def fetch(self) -> None:
        self.keys.tick(self.database)

    def token(self, *, key: Any = KEY, **more: Any) -> str:
        now = int(self._clock.now().timestamp())
        claims = {"iss": f"https://{URL}", "sub": "repo:main", "aud": "turnlock", "exp": now + 600, **more}
        return sign(key, claims)

    def request(self, token: str, **more: str) -> HttpRequest:
        asked = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": ROLE,
            "RoleSessionName": "s1",
            "WebIdentityToken": token,
            **more,
        }
        return HttpRequest(
            method="POST",
            path="/",
            headers=(("content-type", "application/x-www-form-urlencoded"),),
            body=urlencode(asked).encode(),
        )

    def admit(self, request: HttpRequest) -> Admitted:
        return self.database.read(lambda unit: self._admission.admit(request, "r", unit))

    def assume(self, token: str | None = None, **more: str) -> dict[str, Any]:
        admitted = self.admit(self.request(self.token() if token is None else token, **more))

        def act(unit: Unit) -> tuple[Answer | ApiError, list[bytes]]:
            assert admitted.request is not None
            outcome = pass_through(admitted.passage, admitted.call, admitted.request, unit)
            return outcome, [entry.body for entry in unit.entries]

        outcome, entries = self.database.write(act)
        self.records += [json.loads(entry) for entry in entries]
        if isinstance(outcome, ApiError):
            raise outcome
        return dict(outcome)


@pytest.fixture
def workload(iam: Caller, store_place: StorePlace, clock: SettableClock) -> Workload:
    published = Published()
    noted: list[Workload] = []

    def note(unit: Unit, wanted: KeysWanted) -> None:
        noted[0].keys.note(unit, wanted)

    node = store_place.open(clock=clock, subscribers={KeysWanted: (note,)})
    noted.append(Workload(node, published, clock))
    iam(
        "CreateOpenIDConnectProvider",
        Url=f"https://{URL}",
        ClientIDList=["turnlock"],
        ThumbprintList=["f" * 40],
    )
    iam("CreateRole", RoleName="deployer", AssumeRolePolicyDocument=trust())
    noted[0].fetch()
    return noted[0]


def test_a_workload_with_a_token_becomes_the_role(workload: Workload) -> None:
    answer = workload.assume(DurationSeconds="900")
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/s1"
    said = (answer["SubjectFromWebIdentityToken"], answer["Provider"], answer["Audience"])
    assert said == ("repo:main", f"https://{URL}", "turnlock")
    given = answer["Credentials"]
    credential = workload.database.read(
        lambda unit: find_credential(unit, given["AccessKeyId"], given["SessionToken"], unit.now)
    )
    assert credential.principal.kind is PrincipalKind.ASSUMED_ROLE


def test_the_record_says_who_came_by_which_provider_and_holds_no_token(workload: Workload) -> None:
    token = workload.token()
    workload.assume(token)
    (record,) = workload.records
    who = record["userIdentity"]
    assert (who["type"], who["principalId"]) == ("WebIdentityUser", f"{PROVIDER}:turnlock:repo:main")
    assert (who["userName"], who["identityProvider"]) == ("repo:main", PROVIDER)
    assert record["recipientAccountId"] == ACCOUNT
    assert token not in json.dumps(record)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"sub": "repo:other"}, AccessDeniedException),
        ({"aud": "other"}, InvalidIdentityTokenException),
        ({"iss": "https://other.example.com"}, InvalidIdentityTokenException),
        ({"iss": f"http://{URL}"}, InvalidIdentityTokenException),
        ({"exp": 1}, ApiError),
    ],
)
def test_who_is_not_meant_is_not_let_in(
    workload: Workload, more: dict[str, Any], error: type[ApiError]
) -> None:
    with pytest.raises(error):
        workload.assume(workload.token(**more))


def test_a_token_that_is_not_believed_leaves_nothing_in_the_trail(workload: Workload) -> None:
    def refused(unit: Unit) -> int:
        with pytest.raises(InvalidIdentityTokenException):
            workload._admission.admit(workload.request(workload.token(key=new_key())), "r", unit)
        return len(unit.entries)

    assert workload.database.read(refused) == 0


@pytest.mark.parametrize(
    "condition",
    [
        None,
        {"StringEquals": {f"{URL}:aud": "turnlock"}},
        {"StringLike": {f"{URL}:sub": "*"}},
        {"StringLike": {f"{URL}:sub": ["repo:main", "*"]}},
        {"StringEqualsIfExists": {f"{URL}:sub": "repo:main"}},
        {"StringNotEquals": {f"{URL}:sub": "repo:other"}},
        {"ForAllValues:StringEquals": {f"{URL}:sub": "repo:main"}},
    ],
)
def test_a_trust_policy_that_leaves_the_subject_open_lets_nobody_in(
    iam: Caller, workload: Workload, condition: object
) -> None:
    iam("UpdateAssumeRolePolicy", RoleName="deployer", PolicyDocument=trust(condition))
    assert refusal(workload.assume)[0] == "AccessDeniedException"
    iam("UpdateAssumeRolePolicy", RoleName="deployer", PolicyDocument=trust())
    workload.assume()


def test_a_subject_may_be_a_pattern(iam: Caller, workload: Workload) -> None:
    like = {"StringLike": {f"{URL}:sub": "repo:*"}}
    iam("UpdateAssumeRolePolicy", RoleName="deployer", PolicyDocument=trust(like))
    workload.assume()


def test_a_role_that_does_not_trust_the_provider_is_not_assumed(iam: Caller, workload: Workload) -> None:
    own = trust().replace(f'{{"Federated": "{PROVIDER}"}}', f'{{"AWS": "arn:aws:iam::{ACCOUNT}:root"}}')
    iam("UpdateAssumeRolePolicy", RoleName="deployer", PolicyDocument=own)
    assert refusal(workload.assume)[0] == "AccessDeniedException"
    absent = {"RoleArn": f"{ROLE}x"}
    assert refusal(lambda: workload.assume(**absent))[0] == "AccessDeniedException"


def test_a_provider_of_another_account_opens_no_role_of_this_one(iam: Caller, workload: Workload) -> None:
    iam("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=PROVIDER)
    there = iam.elsewhere(principal=accounts.root_principal(OTHER))
    there("CreateOpenIDConnectProvider", Url=f"https://{URL}", ClientIDList=["turnlock"])
    assert refusal(workload.assume)[0] == "InvalidIdentityTokenException"


def test_tags_and_the_source_identity_come_from_the_token_where_the_role_allows_it(
    iam: Caller, workload: Workload
) -> None:
    token = workload.token(
        **{
            "https://aws.amazon.com/tags": {
                "principal_tags": {"team": ["red"], "env": ["prod"]},
                "transitive_tag_keys": ["team"],
            },
            "https://aws.amazon.com/source_identity": "Ann",
        }
    )
    with pytest.raises(AccessDeniedException, match="sts:TagSession"):
        workload.assume(token)
    every = ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"]
    iam("UpdateAssumeRolePolicy", RoleName="deployer", PolicyDocument=trust(action=every))
    given = workload.assume(token)["Credentials"]
    session = workload.database.read(
        lambda unit: find_credential(unit, given["AccessKeyId"], given["SessionToken"], unit.now).session
    )
    assert (session.tags, session.transitive_tags) == ({"team": "red", "env": "prod"}, ("team",))
    assert session.source_identity == "Ann"


def test_a_new_key_of_the_provider_is_fetched_when_a_token_names_it(
    workload: Workload, clock: SettableClock
) -> None:
    workload.published.keys = [KEY, NEXT]
    token = workload.token(key=NEXT)
    asked = len(workload.published.asked)
    with pytest.raises(IDPCommunicationErrorException):
        workload.assume(token)
    workload.fetch()
    assert len(workload.published.asked) == asked, "asked again too soon"
    clock.advance(timedelta(seconds=10))
    workload.fetch()
    workload.assume(token)


def test_unknown_keys_one_after_another_wake_the_fetching_once(workload: Workload) -> None:
    """Anyone can send a token that names a key which nobody has."""
    woken: list[bool] = []
    workload.keys.wake = lambda: woken.append(True)
    for _ in range(5):
        with pytest.raises(IDPCommunicationErrorException):
            workload.assume(workload.token(key=NEXT))
    asked = len(workload.published.asked)
    assert workload.keys.tick(workload.database) < 10
    with pytest.raises(IDPCommunicationErrorException):
        workload.assume(workload.token(key=NEXT))
    assert (len(woken), len(workload.published.asked)) == (1, asked)


def test_a_provider_that_is_down_keeps_its_keys_good(workload: Workload, clock: SettableClock) -> None:
    workload.published.down = True
    clock.advance(timedelta(hours=2))
    asked = len(workload.published.asked)
    workload.fetch()
    assert len(workload.published.asked) == asked + 1
    workload.assume()
    workload.published.down, workload.published.keys = False, [NEXT]
    clock.advance(timedelta(hours=2))
    workload.fetch()
    with pytest.raises(IDPCommunicationErrorException):
        workload.assume()
    workload.assume(workload.token(key=NEXT))


def test_a_configuration_of_another_issuer_is_not_believed(
    iam: Caller, workload: Workload, clock: SettableClock
) -> None:
    workload.published.configuration = {
        "issuer": "https://other.example.com",
        "jwks_uri": "https://keys.example.com/set",
    }
    workload.published.keys = [NEXT]
    clock.advance(timedelta(hours=2))
    workload.fetch()
    found = iam.database.read(lambda unit: find_provider(unit, ACCOUNT, URL))
    assert found is not None
    assert (found.keys, found.tried_at) == (
        json.dumps(json.loads(key_set(KEY)), separators=(",", ":")),
        clock.now(),
    )


def test_other_actions_without_a_signature_are_refused_as_before(workload: Workload) -> None:
    for action in ("AssumeRole", "GetCallerIdentity", "GetSessionToken", "Nothing"):
        body = urlencode({"Action": action, "Version": "2011-06-15"}).encode()
        headers = (("content-type", "application/x-www-form-urlencoded"),)
        request = HttpRequest(method="POST", path="/", headers=headers, body=body)
        with pytest.raises(MissingAuthenticationTokenException):
            workload.admit(request)
