"""Where passwords are compared: beside the store's writer, and judged one after the other all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.placed import ACCOUNT, Caller, Placed
from turnlock import iam
from turnlock.iam import login_profiles
from turnlock.shell.server import Server

GOOD, BETTER = "Correct-Horse-7", "Correct-Horse-8"
AT_ONCE = 12


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Placed]:
    place = Placed(tmp_path / "data")
    place.user("ann")
    place.put_user_policy("ann", {"Effect": "Allow", "Action": "*", "Resource": "*"})
    place.do("iam", "CreateLoginProfile", UserName="ann", Password=GOOD)
    yield place
    place.close()


def change(place: Placed, *rounds: list[str]) -> list[list[int]]:
    """Change ann's password, by all old ones of a round at once; return the statuses of the answers."""

    async def ask() -> list[list[int]]:
        server = Server(place.application, asyncio.get_running_loop())
        ann = Caller(server, place.key("ann"))
        return [await one_round(server, ann, old) for old in rounds]

    async def one_round(server: Server, ann: Caller, old: list[str]) -> list[int]:
        requests = [
            ann.request(
                "iam",
                "ChangePassword",
                urlencode(
                    {
                        "Action": "ChangePassword",
                        "Version": "2010-05-08",
                        "OldPassword": one,
                        "NewPassword": BETTER,
                    }
                ).encode(),
            )
            for one in old
        ]
        return [answer.status for answer in await asyncio.gather(*map(server.respond, requests))]

    return asyncio.run(ask())


def test_other_writes_do_not_wait_for_a_password(place: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    compare, compared = login_profiles._verifies, []

    def while_others_write(stored: str, password: str) -> bool:
        place.application.database.submit(lambda unit: unit.now).result(timeout=5)
        compared.append(password)
        return compare(stored, password)

    monkeypatch.setattr(login_profiles, "_verifies", while_others_write)
    assert change(place, ["wrong"], [GOOD]) == [[403], [200]]
    database = place.application.database
    assert iam.check_password(database, ACCOUNT, "ann", BETTER) is not None
    assert iam.check_password(database, ACCOUNT, "nobody", BETTER) is None
    assert compared == ["wrong", GOOD, BETTER, BETTER]


def test_passwords_tried_at_once_are_counted_one_by_one(place: Placed) -> None:
    """All are compared before the first is judged; the right one comes last, and is not taken."""
    assert change(place, [*["wrong"] * AT_ONCE, GOOD]) == [[403] * (AT_ONCE + 1)]
    assert iam.check_password(place.application.database, ACCOUNT, "ann", GOOD) is None


def test_of_two_who_change_a_password_at_once_one_does(place: Placed) -> None:
    assert sorted(change(place, [GOOD, GOOD])[0]) == [200, 403]
