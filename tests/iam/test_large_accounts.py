"""Accounts with very many users and policies: what one request reads of them, whichever it is.

Each row that is read costs the event loop 40 µs: its MAC is checked, and its body is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.iam.calling import ACCOUNT, Caller
from tests.support import NOON
from turnlock.accounts import Identity, Kind, ManagedPolicy
from turnlock.accounts.entities.store import IDENTITIES, POLICIES, insert_identity
from turnlock.core import pages
from turnlock.errors import InvalidInputException, ValidationException
from turnlock.iam.lookup import PAGES
from turnlock.iam.mfa.store import DEVICES, MfaDevice
from turnlock.storage import Unit

MANY, WALKED = 300, 120
HELD = f"arn:aws:iam::{ACCOUNT}:policy/held"
TAKEN = InvalidInputException("taken")


def fill(unit: Unit) -> None:
    """Make a group that all users are in, a policy that all hold, and policies that nobody holds."""
    group = Identity(account_id=ACCOUNT, kind=Kind.GROUP, id="AGPAALL", name="all", path="/", created_at=NOON)
    insert_identity(unit, group)
    for number in range(MANY):
        name = f"u{number:04}"
        user = Identity(
            account_id=ACCOUNT,
            kind=Kind.USER,
            id=f"AIDA{number:08}",
            name=name,
            path="/last/" if number == MANY - 1 else "/",
            created_at=NOON,
            attached=(HELD,),
            groups=(group.id,),
        )
        insert_identity(unit, user)
        device = MfaDevice(
            account_id=ACCOUNT,
            name=name,
            path="/",
            sealed_seed=b"",
            created_at=NOON,
            user_id=user.id,
            enabled_at=NOON,
        )
        DEVICES.insert(unit, device, taken=TAKEN)
    for number in range(MANY):
        policy = ManagedPolicy(
            account_id=ACCOUNT,
            id=f"ANPA{number:08}",
            name="held" if number == 0 else f"p{number:04}",
            path="/",
            created_at=NOON,
            updated_at=NOON,
            default_version=1,
            newest_version=1,
        )
        POLICIES.insert(unit, policy, taken=TAKEN)


@pytest.fixture
def read(iam: Caller, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fill the account; return a list that grows by each row that is read from now on."""
    monkeypatch.setattr(pages, "WALKED", WALKED)
    iam.database.write(fill)
    rows: list[str] = []
    records = type(IDENTITIES)
    original = records.read

    def counted(self: Any, *given: Any, **columns: Any) -> Any:
        rows.append(self.table.name)
        return original(self, *given, **columns)

    monkeypatch.setattr(records, "read", counted)
    return rows


def pages_of(iam: Caller, operation: str, **request: Any) -> Iterator[dict[str, Any]]:
    """Yield every page of a list."""
    more: dict[str, str] = {}
    while True:
        page = iam(operation, **request, **more)
        yield page
        if not page["IsTruncated"]:
            return
        more = {"Marker": page["Marker"]}


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("GetAccountSummary", {}),
    ("GetAccountAuthorizationDetails", {"MaxItems": 1000}),
    ("GetAccountAuthorizationDetails", {"Filter": ["LocalManagedPolicy"]}),
    ("ListUsers", {"PathPrefix": "/last/"}),
    ("ListPolicies", {"MaxItems": 1000}),
    ("ListPolicies", {"Scope": "Local", "OnlyAttached": True, "PolicyUsageFilter": "PermissionsBoundary"}),
    ("GetPolicy", {"PolicyArn": HELD}),
    ("GetGroup", {"GroupName": "all"}),
    ("ListEntitiesForPolicy", {"PolicyArn": HELD, "MaxItems": 1000}),
    ("ListEntitiesForPolicy", {"PolicyArn": HELD, "PathPrefix": "/last/"}),
    ("ListVirtualMFADevices", {}),
]


def test_no_request_reads_the_whole_account(iam: Caller, read: list[str]) -> None:
    found = {}
    for operation, request in ASKED:
        before = len(read)
        iam(operation, **request)
        found[f"{operation} {request}"] = len(read) - before
    assert {name: rows for name, rows in found.items() if rows > WALKED + PAGES.most} == {}


def test_all_pages_together_show_everything(iam: Caller, read: list[str]) -> None:
    def names(operation: str, member: str, name: str, **request: Any) -> list[str]:
        return [one[name] for page in pages_of(iam, operation, **request) for one in page[member]]

    users = [f"u{number:04}" for number in range(MANY)]
    details = "GetAccountAuthorizationDetails"
    assert names(details, "UserDetailList", "UserName", Filter=["User", "Group"]) == users
    assert names(details, "GroupDetailList", "GroupName") == ["all"]
    assert names("ListUsers", "Users", "UserName", PathPrefix="/last/") == users[-1:]
    assert names("GetGroup", "Users", "UserName", GroupName="all") == users
    assert names("ListEntitiesForPolicy", "PolicyUsers", "UserName", PolicyArn=HELD) == users
    owners = [
        page["User"]["UserName"]
        for some in pages_of(iam, "ListVirtualMFADevices")
        for page in some["VirtualMFADevices"]
    ]
    assert owners == users
    assert names("ListPolicies", "Policies", "PolicyName", OnlyAttached=True) == ["held"]
    local = names("ListPolicies", "Policies", "PolicyName", Scope="Local")
    assert local == ["held", *(f"p{number:04}" for number in range(1, MANY))]
    everything = names("ListPolicies", "Policies", "PolicyName")
    assert len(everything) == len(local) + len(names("ListPolicies", "Policies", "PolicyName", Scope="AWS"))
    assert read


def test_the_summary_and_the_policy_count_all(iam: Caller, read: list[str]) -> None:
    found = iam("GetAccountSummary")["SummaryMap"]
    assert (found["Users"], found["Groups"], found["Policies"]) == (MANY, 1, MANY)
    assert (found["MFADevices"], found["MFADevicesInUse"]) == (MANY, MANY)
    assert iam("GetPolicy", PolicyArn=HELD)["Policy"]["AttachmentCount"] == MANY
    assert read


@pytest.mark.parametrize("marker", ["QmV5b25k", "VXNlciBhAGI=", "!!"])
def test_a_marker_that_no_page_gave_is_refused(iam: Caller, marker: str) -> None:
    for operation in ("ListUsers", "ListPolicies", "GetAccountAuthorizationDetails"):
        with pytest.raises(ValidationException):
            iam(operation, Marker=marker)
