"""The principals that there are, on each store."""

from __future__ import annotations

from itertools import count

import pytest
from sqlalchemy import event

from tests.iam.calling import ACCOUNT, TRUST, Caller
from tests.support import SettableClock, StorePlace
from turnlock import accounts
from turnlock.accounts.entities.saved_principals import saved_names
from turnlock.core.call import PrincipalKind
from turnlock.storage import Unit
from turnlock.trail import TrailTable


@pytest.fixture
def iam(store_place: StorePlace) -> Caller:
    """The root user's IAM, with a user and a role below paths."""
    chains = count(1)
    database = store_place.open(clock=SettableClock(), sink=lambda: TrailTable(f"w{next(chains)}"))
    database.write(lambda unit: accounts.create_account(unit, ACCOUNT))
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
    found = iam.database.read(lambda unit: accounts.find_principal(unit, arn))
    assert (None if found is None else found.kind) is kind
    if kind in (PrincipalKind.ROOT, PrincipalKind.USER):
        assert found is not None
        assert found.arn == arn


def test_all_principals_of_an_account(iam: Caller) -> None:
    found = iam.database.read(lambda unit: accounts.principals_of(unit, ACCOUNT))
    assert [one.arn for one in found] == [
        f"arn:aws:iam::{ACCOUNT}:root",
        f"arn:aws:iam::{ACCOUNT}:user/team/ann",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/any-session",
    ]
    assert iam.database.read(lambda unit: accounts.find_principal(unit, "nobody")) is None


def test_many_principals_are_found_by_as_few_queries_as_one(iam: Caller) -> None:
    """A policy of 20 KB names 365 sessions: a query for each took a tenth of a second."""

    def asked(unit: Unit, arns: list[str]) -> tuple[int, int]:
        statements: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_others: object) -> None:
            statements.append(statement)

        event.listen(unit.connection, "before_cursor_execute", note)
        saved = saved_names(unit, arns)
        event.remove(unit.connection, "before_cursor_execute", note)
        return len(set(saved.values())), len(statements)

    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/s"
    elsewhere = "arn:aws:iam::999999999999:user/u"
    many = [f"{arn}{number}" for arn in (session, elsewhere) for number in range(200)]
    one, few = iam.database.read(lambda unit: asked(unit, [session, elsewhere]))
    every, queries = iam.database.read(lambda unit: asked(unit, many))
    assert (one, every) == (2, 400)
    assert queries == few
