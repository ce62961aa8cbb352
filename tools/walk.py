"""How far one walks through the code to follow a request: files, and changes of room, for a read and a rotation.

python tools/walk.py [--functions NAME]

Everything runs in this process: a GetSecretValue by a user, right after something was committed (cold) and again (warm), and one
rotation from its claim to its end, with a function that does nothing to a database. What is counted: the files of
src/turnlock whose functions ran, and how often the next function was one of another room. The marks may only fall;
with --functions the functions of one walk (`cold`, `warm`, `rotation`) are listed in order.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]  # run as a script

from bench.authority import ACCOUNT, REGION, Place, parsed
from bench.signing import Target, signed_requests
from turnlock import app
from turnlock.functions import Invocation, InvocationResult
from turnlock.shell.server import Server

MARKS = {"cold": (61, 139), "warm": (41, 56), "rotation": (57, 700)}
"""(files, changes of room) that may not be exceeded. A rotation runs on several threads, so its changes vary from run to run."""


@dataclass(kw_only=True)
class Walk:
    """The functions of the product that ran, in order, as (file, name)."""

    steps: list[tuple[str, str]] = field(default_factory=list)
    paused: bool = False
    """Whether what runs is the function's own doing."""

    @property
    def files(self) -> list[str]:
        """The files, in order of their first function."""
        return list(dict.fromkeys(file for file, _ in self.steps))

    @property
    def changes(self) -> int:
        """How often the next function was one of another room: another folder or module directly in src/turnlock."""
        rooms = [file.partition("/")[0] for file, _ in self.steps]
        return sum(one != other for one, other in pairwise(rooms))

    def note(self, frame: FrameType, event: str, _argument: object) -> None:
        """Take a step, if it is one (sys.setprofile)."""
        _, found, file = frame.f_code.co_filename.partition("/src/turnlock/")
        if event == "call" and found and not self.paused:
            self.steps.append((file, frame.f_code.co_qualname))


@contextmanager
def walked(*, everywhere: bool = False) -> Iterator[Walk]:
    """Note the functions of this thread; `everywhere`: of the threads that begin meanwhile too."""
    walk = Walk()
    if everywhere:
        threading.setprofile(walk.note)
    sys.setprofile(walk.note)
    try:
        yield walk
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def reads(place: Place, target: Target) -> dict[str, Walk]:
    """Walk a cold and a warm read."""
    server, found = Server(place.application, asyncio.get_running_loop()), {}
    requests = map(parsed, islice(signed_requests(target), 0, None, len(target.names)))
    for name in ("before", "cold", "warm"):
        if name == "cold":
            place.do(
                "secretsmanager",
                "CreateSecret",
                Name=uuid.uuid4().hex,
                SecretString="x",
                ClientRequestToken=draw(),
            )
        request = next(requests)
        with walked() as found[name]:
            answer = await server.respond(request)
        if answer.status != 200:
            raise SystemExit(f"the read was not answered: {answer.body!r}")
    server.close()
    return found


def rotation(place: Place) -> Walk:
    """Walk one rotation by a hosted function, all that the function itself does left out."""
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:SecretsManagerRDSPostgreSQLRotationSingleUser"
    value = {"engine": "postgres", "host": "127.0.0.1", "username": "app", "password": "first"}
    made = partial(place.do, "secretsmanager")
    arn = made("CreateSecret", Name="rotated", SecretString=json.dumps(value), ClientRequestToken=draw())[
        "ARN"
    ]
    first = made("DescribeSecret", SecretId=arn)["VersionIdsToStages"]
    with walked(everywhere=True) as walk:

        def run(invocation: Invocation, **_: Any) -> InvocationResult:
            walk.paused = True
            step, token = invocation.payload["Step"], invocation.payload["ClientRequestToken"]
            invocation.credentials()
            if step == "createSecret":
                pending = json.dumps({**value, "password": "second"})
                made(
                    "PutSecretValue",
                    SecretId=arn,
                    ClientRequestToken=token,
                    SecretString=pending,
                    VersionStages=["AWSPENDING"],
                )
            if step == "finishSecret":
                made(
                    "UpdateSecretVersionStage",
                    SecretId=arn,
                    VersionStage="AWSCURRENT",
                    MoveToVersionId=token,
                    RemoveFromVersionId=next(iter(first)),
                )
            walk.paused = False
            return InvocationResult()

        application = app.build(place.application.config, run_function=run)
        walk.steps.clear()
        made(
            "RotateSecret",
            SecretId=arn,
            RotationLambdaARN=function,
            RotationRules={"AutomaticallyAfterDays": 30},
            ClientRequestToken=draw(),
        )
        until = time.monotonic() + 30
        while (
            made("DescribeSecret", SecretId=arn).get("LastRotatedDate") is None and time.monotonic() < until
        ):
            application.scheduler.tick()
            time.sleep(0.05)
    application.close()
    return walk


def draw() -> str:
    """Return a ClientRequestToken."""
    return str(uuid.uuid4())


def main() -> int:
    """Print the figures, or one walk's functions; return 1 where a mark is exceeded."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as scratch:
        place = Place(Path(scratch) / "data")
        _, user = place.prepare()
        walks = asyncio.run(reads(place, user))
        walks["rotation"] = rotation(Place(Path(scratch) / "other"))
    if sys.argv[1:2] == ["--functions"]:
        for file, name in walks[sys.argv[2]].steps:
            print(f"{file}: {name}")
        return 0
    failed = 0
    for name, (files, changes) in MARKS.items():
        walk = walks[name]
        print(
            f"{name}: {len(walk.files)} files (mark {files}), {walk.changes} changes of room (mark {changes})"
        )
        failed |= len(walk.files) > files or walk.changes > changes
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
