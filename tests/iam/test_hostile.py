"""Whatever valid requests IAM and STS get, in whatever order: an answer that fits the model, or an error of the API's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import proofs
from tests.calling import refusal
from tests.iam.calling import ACCOUNT, READ, SERVICES, TRUST, Caller
from tests.sampling import examples
from tests.support import StorePlace
from tests.wire.model_values import values
from turnlock import accounts
from turnlock.core.call import Session
from turnlock.errors import ApiError, InternalServiceError, NoSuchEntityException
from turnlock.shell.gate import Passage, pass_through
from turnlock.storage import Unit

EXAMPLES = 10_000 if proofs.FULL else examples(400)
NAMES = st.sampled_from(["ann", "Ann", "bob", "x"])
POOL: dict[str, st.SearchStrategy[Any]] = {
    "UserName": NAMES,
    "GroupName": NAMES,
    "RoleName": NAMES,
    "PolicyName": NAMES,
    "NewUserName": NAMES,
    "NewGroupName": NAMES,
    "VirtualMFADeviceName": NAMES,
    "VersionId": st.sampled_from(["v1", "v2", "v9"]),
    "PolicyDocument": st.sampled_from([READ, TRUST, "{}", "{"]),
    "AssumeRolePolicyDocument": st.sampled_from([TRUST, READ, "[]"]),
    "PolicyArn": st.sampled_from(
        [
            f"arn:aws:iam::{ACCOUNT}:policy/ann",
            f"arn:aws:iam::{ACCOUNT}:policy/",
            "arn:aws:iam::aws:policy/ReadOnlyAccess",
        ]
    ),
    "PermissionsBoundary": st.sampled_from(
        ["arn:aws:iam::aws:policy/ReadOnlyAccess", f"arn:aws:iam::{ACCOUNT}:policy/x"]
    ),
    "RoleArn": st.sampled_from(
        [f"arn:aws:iam::{ACCOUNT}:role/ann", "arn:aws:iam::x:role/", "arn:aws:iam:::::::::"]
    ),
    "SerialNumber": st.sampled_from([f"arn:aws:iam::{ACCOUNT}:mfa/ann", "arn:aws:iam::x:mfa/", "123456789"]),
    "Url": st.sampled_from(["https://idp.example.com", "https://", "http://idp.example.com", "https://[::1"]),
    "OpenIDConnectProviderArn": st.sampled_from(
        [f"arn:aws:iam::{ACCOUNT}:oidc-provider/idp.example.com", "x" * 20]
    ),
    "Password": st.just("Short-1"),
    "NewPassword": st.just("Short-1"),
}
"""Members whose values are drawn from few, so that requests meet what earlier ones made. Passwords are too short to be hashed."""
PASSAGES = [(service, passage) for service in SERVICES.values() for passage in service.passages.values()]


@pytest.fixture(scope="module")
def caller(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """The root user, on a store that lasts for all requests."""
    directory = tmp_path_factory.mktemp("hostile")
    shutil.copyfile(sqlite_template, directory / "turnlock.db")
    place = StorePlace(url=None, data_dir=directory)
    database = place.open()
    database.write(lambda unit: accounts.create_account(unit, ACCOUNT))
    yield Caller(database=database)
    place.close()


def requests(passage: Passage) -> st.SearchStrategy[dict[str, Any]]:
    """Return valid requests of an operation; members of POOL are drawn from there."""
    shape = passage.operation.model.input_shape
    if shape is None:
        return st.just({})
    pooled = {name: POOL[name] for name in shape.members if name in POOL}
    return st.tuples(values(shape), st.fixed_dictionaries(pooled)).map(
        lambda both: {name: both[1].get(name, value) for name, value in both[0].items()}
    )


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_valid_request_is_a_fault_of_the_servers(caller: Caller, data: st.DataObject) -> None:
    service, passage = data.draw(st.sampled_from(PASSAGES))
    request = passage.operation.parse(data.draw(requests(passage)))
    by = caller.elsewhere(service=service.contract.signing_name, session=Session(access_key_id="AKIAEXAMPLE"))

    def act(unit: Unit) -> object:
        return pass_through(passage, by.call(passage.action.name, unit), request, unit)

    run = caller.database.write if passage.action.mutates else caller.database.read
    outcome = run(act)
    assert not isinstance(outcome, InternalServiceError), request
    if not isinstance(outcome, ApiError):
        assert service.protocol.respond(passage.operation, outcome, "r").status == 200  # type: ignore[arg-type]


ODD = ["a\0b", "\x1b[31m", "\u202e", "é", "%s", "'", "\U0010ffff", "]]>", "<a>", "&"]


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_name_is_absent_or_refused_on_both_stores(iam: Caller, odd: str) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{odd}"
    provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{odd}"
    calls = [
        lambda: iam("GetPolicy", PolicyArn=arn),
        lambda: iam("GetOpenIDConnectProvider", OpenIDConnectProviderArn=provider),
        lambda: iam("GetUser", UserName=odd),
        lambda: iam("ListUsers", Marker=odd),
        lambda: iam("CreateOpenIDConnectProvider", Url=f"https://{odd}"),
    ]
    known = {"NoSuchEntityException", "ValidationException", "InvalidInputException"}
    for call in calls:
        code, message = refusal(call)
        assert code in known
        fault = SERVICES["iam"].protocol.fault(NoSuchEntityException(message), "r")
        ET.fromstring(fault.body)
