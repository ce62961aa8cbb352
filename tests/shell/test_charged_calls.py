"""Calls that need no right, over the server: what they may have written, and what they are told then."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.placed import ACCOUNT, Caller, Placed
from turnlock.accounts.attempts import TRIES
from turnlock.core.call import Principal
from turnlock.iam.mfa.one_time_codes import code_of, step_at
from turnlock.iam.mfa.store import find_device
from turnlock.shell.server import Server
from turnlock.trail import WriteBudget
from turnlock.wire import HttpResponse


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Placed]:
    place = Placed(tmp_path / "data")
    place.user("low")
    place.user("reader")
    place.put_user_policy(
        "reader", {"Effect": "Allow", "Action": "secretsmanager:ListSecrets", "Resource": "*"}
    )
    yield place
    place.close()


class Noted(WriteBudget):
    """A budget that notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def spend(self, principal: Principal, address: str, size: int) -> bool:
        self.sizes.append(size)
        return super().spend(principal, address, size)


def code(answer: HttpResponse) -> str:
    return str(json.loads(answer.body).get("__type", "allowed"))


def test_refused_calls_beyond_the_budget_are_throttled_and_allowed_ones_are_not(place: Placed) -> None:
    async def run() -> None:
        server = Server(place.application, asyncio.get_running_loop())
        server._written = WriteBudget(8_000, 0)
        low, reader = Caller(server, place.key("low")), Caller(server, place.key("reader"))
        denied = [code(await low.ask("secretsmanager", "GetSecretValue", SecretId="x")) for _ in range(12)]
        assert denied[0] == "AccessDeniedException"
        assert denied[-1] == "ThrottlingException"
        assert denied == sorted(denied)
        # What changes something is refused alike, and so is input that cannot be read.
        assert code(await low.ask("secretsmanager", "DeleteSecret", SecretId="x")) == "ThrottlingException"
        assert code(await low.ask("secretsmanager", "GetSecretValue")) == "ThrottlingException"
        assert code(await reader.ask("secretsmanager", "ListSecrets")) == "allowed"
        server.close()

    asyncio.run(run())


def test_a_call_that_everyone_may_make_is_charged_too(place: Placed) -> None:
    async def run() -> None:
        server = Server(place.application, asyncio.get_running_loop())
        server._written = WriteBudget(8_000, 0)
        low = Caller(server, place.key("low"))
        body = b"Action=%b&Version=2011-06-15"
        who = low.request("sts", "GetCallerIdentity", body % b"GetCallerIdentity")
        answers = [await server.respond(who) for _ in range(12)]
        assert answers[0].status == 200
        assert b"Throttling" in answers[-1].body
        session = low.request("sts", "GetSessionToken", body % b"GetSessionToken")
        assert b"Throttling" in (await server.respond(session)).body
        server.close()

    asyncio.run(run())


def test_wrong_codes_of_calls_that_are_throttled_are_counted(place: Placed) -> None:
    """A caller who has spent its budget on purpose must not be able to guess without being counted."""
    made = place.do("iam", "CreateVirtualMFADevice", VirtualMFADeviceName="phone")["VirtualMFADevice"]
    serial, seed = made["SerialNumber"], base64.b32decode(made["Base32StringSeed"])
    step = step_at(datetime.now(UTC))
    first, second = code_of(seed, step - 3), code_of(seed, step - 2)
    codes = {"AuthenticationCode1": first, "AuthenticationCode2": second}
    place.do("iam", "EnableMFADevice", UserName="low", SerialNumber=serial, **codes)
    near = {code_of(seed, step + ahead) for ahead in range(-5, 6)}
    wrong = next(f"{number:06}" for number in range(20) if f"{number:06}" not in near)

    async def run() -> None:
        server = Server(place.application, asyncio.get_running_loop())
        server._written = WriteBudget(0, 0)
        low = Caller(server, place.key("low"))
        body = f"Action=GetSessionToken&Version=2011-06-15&SerialNumber={serial}&TokenCode={wrong}".encode()
        for _ in range(TRIES):
            assert b"Throttling" in (await server.respond(low.request("sts", "GetSessionToken", body))).body
        device, now = place.application.database.read(
            lambda unit: (find_device(unit, ACCOUNT, serial), unit.now)
        )
        server.close()
        assert device is not None
        assert device.attempts.resting(now)

    asyncio.run(run())


def test_a_long_user_agent_makes_no_long_record(place: Placed) -> None:
    async def run() -> int:
        server = Server(place.application, asyncio.get_running_loop())
        low = Caller(server, place.key("low"))
        request = low.request(
            "secretsmanager", "GetSecretValue", b'{"SecretId": "x"}', user_agent="a" * 60_000
        )
        server._written = noted = Noted()
        await server.respond(request)
        server.close()
        return noted.sizes[0]

    assert asyncio.run(run()) < 3_000
