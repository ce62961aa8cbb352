"""Thousands of spoilt requests through the whole server but its socket: none is its fault, none holds it, none harms another."""

from __future__ import annotations

import asyncio
import configparser
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from tests import proofs
from tests.calling import token
from tests.hostile.generated import AWAY, HEALTHY, HOST, NAMES, Draws
from tests.processes import REGION
from tests.support import StorePlace
from turnlock import app
from turnlock.config import Config
from turnlock.core.arn import Region
from turnlock.shell.application import Application
from turnlock.shell.server import Server
from turnlock.wire import HttpRequest, HttpResponse

pytestmark = pytest.mark.slow

REQUESTS = 9_500 if proofs.FULL else 2_500
"""On each store."""
AT_ONCE = 50
SECONDS = 20.0
"""The longest that any AT_ONCE of them may take together."""


def config_of(place: StorePlace) -> Config:
    return Config(
        data_dir=place.data_dir,
        host="127.0.0.1",
        port=7768,
        database=place.url,
        regions=frozenset({Region(REGION), Region(AWAY)}),
    )


def draws_of(data_dir: Path, seed: str, host: str = HOST) -> Draws:
    profile = configparser.ConfigParser()
    profile.read(data_dir / "credentials")
    return Draws(
        key_id=profile["default"]["aws_access_key_id"],
        secret=profile["default"]["aws_secret_access_key"],
        dice=random.Random(f"{proofs.SEED} {seed}"),
        host=host,
    )


class Inside:
    """A worker's server without a socket."""

    def __init__(self, server: Server, draws: Draws) -> None:
        self._server = server
        self._draws = draws

    async def send(self, requests: list[HttpRequest]) -> list[HttpResponse]:
        """Return the answers to requests sent at once."""
        answers = asyncio.gather(*(self._server.respond(request) for request in requests))
        return await asyncio.wait_for(answers, SECONDS)

    async def call(self, operation: str, parameters: dict[str, str]) -> HttpResponse:
        model = self._draws.operations[0][0]
        [answer] = await self.send([self._draws.signed(model, operation, json.dumps(parameters).encode())])
        return answer

    async def is_healthy(self) -> bool:
        answer = await self.call("GetSecretValue", {"SecretId": HEALTHY})
        return answer.status == 200 and json.loads(answer.body)["SecretString"] == "whole"


async def throw(application: Application, draws: Draws) -> Counter[tuple[int, str]]:
    """Send REQUESTS draws; return how often each status and code came back."""
    server = Server(application, asyncio.get_running_loop())
    inside, seen = Inside(server, draws), Counter[tuple[int, str]]()
    try:
        for name in (HEALTHY, *NAMES):
            made = {"Name": name, "SecretString": "whole", "ClientRequestToken": token()}
            assert (await inside.call("CreateSecret", made)).status == 200
        for _ in range(REQUESTS // AT_ONCE):
            requests = [draws.draw() for _ in range(AT_ONCE)]
            for request, answer in zip(requests, await inside.send(requests), strict=True):
                assert answer.status < 500, (request, request.headers, request.body, answer.body)
                seen[answer.status, code_of(answer)] += 1
            assert await inside.is_healthy()
    finally:
        server.close()
    return seen


def code_of(answer: HttpResponse) -> str:
    """Return the code of an error that has an AWS client's form, "" for an answer."""
    headers = {name.lower(): value for name, value in answer.headers}
    if answer.status == 200:
        return ""
    assert headers["x-amzn-requestid"]
    if "json" not in headers["content-type"]:
        assert b"<Code>" in answer.body
        return answer.body.partition(b"<Code>")[2].partition(b"<")[0].decode()
    return str(json.loads(answer.body)["__type"])


def test_no_request_is_a_fault_of_ours_and_none_holds_the_server(store_place: StorePlace) -> None:
    config = config_of(store_place)
    app.initialise(config)
    draws = draws_of(store_place.data_dir, store_place.dialect)
    seen = asyncio.run(throw(app.build(config), draws))
    codes = {code for _, code in seen}
    assert sum(seen.values()) == REQUESTS
    assert seen[200, ""] > REQUESTS // 20, "too few draws come through to say anything"
    assert codes >= {
        "IncompleteSignatureException",
        "InvalidParameterException",
        "InvalidRequestException",
        "InvalidSignatureException",
        "ResourceExistsException",
        "ResourceNotFoundException",
        "SerializationException",
        "UnknownOperationException",
        "ValidationException",
    }
    proofs.record(
        "hostile requests", store_place.dialect, requests=REQUESTS, answered=seen[200, ""], codes=len(codes)
    )


def test_the_same_seed_draws_the_same_requests() -> None:
    def first(seed: int) -> list[bytes]:
        draws = Draws(key_id="AKIDEXAMPLE", secret="s", dice=random.Random(seed))
        return [draws.draw().body for _ in range(50)]

    assert first(1) == first(1) != first(2)
