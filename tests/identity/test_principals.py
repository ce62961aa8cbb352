"""The principals that there are, on each store."""

from __future__ import annotations

from itertools import count

import pytest

from tests.identity.iam.calling import ACCOUNT, TRUST, Caller
from tests.support import SettableClock, StorePlace
from turnlock import identity
from turnlock.core.call import PrincipalKind
from turnlock.trail import TrailTable


@pytest.fixture
def iam(store_place: StorePlace) -> Caller:
    """The root user's IAM, with a user and a role below paths."""
    chains = count(1)
    database = store_place.open(clock=SettableClock(), sink=lambda: TrailTable(f"w{next(chains)}"))
    database.write(lambda unit: identity.create_account(unit, ACCOUNT))
    iam = Caller(database=database)
    iam("CreateUser", UserName="ann", Path="/team/")
    iam("CreateRole", RoleName="reader", Path="/service/", AssumeRolePolicyDocument=TRUST)
    return iam


@pytest.mark.parametrize(
    ("resource", "kind"),
    [
        ("iam::{}:root", PrincipalKind.ROOT),
        ("iam::{}:user/team/ann", PrincipalKind.USER),
        ("iam::{}:role/service/reader", PrincipalKind.ASSUMED_ROLE),
        ("sts::{}:assumed-role/reader/s", PrincipalKind.ASSUMED_ROLE),
        ("iam::{}:user/ann", None),
        ("iam::{}:user/team/bob", None),
        ("iam::{}:role/reader", None),
        ("sts::{}:assumed-role/writer/s", None),
        ("iam::{}:group/team/ann", None),
        ("iam::{}:policy/x", None),
        ("s3:::{}", None),
    ],
)
def test_a_principal_is_found_by_its_whole_arn(
    iam: Caller, resource: str, kind: PrincipalKind | None
) -> None:
    arn = f"arn:aws:{resource.format(ACCOUNT)}"
    found = iam.database.read(lambda unit: identity.find_principal(unit, arn))
    assert (None if found is None else found.kind) is kind
    if kind in (PrincipalKind.ROOT, PrincipalKind.USER):
        assert found is not None
        assert found.arn == arn


def test_all_principals_of_an_account(iam: Caller) -> None:
    found = iam.database.read(lambda unit: identity.principals_of(unit, ACCOUNT))
    assert [one.arn for one in found] == [
        f"arn:aws:iam::{ACCOUNT}:root",
        f"arn:aws:iam::{ACCOUNT}:user/team/ann",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/any-session",
    ]
    assert iam.database.read(lambda unit: identity.find_principal(unit, "nobody")) is None
