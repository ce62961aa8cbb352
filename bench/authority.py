"""What deciding costs: GetSecretValue by a user with 3 policies and 30 statements, beside the root user, in one process.

python -m bench.authority [ROUNDS]

Both take the whole way from a parsed HTTP request to its answer (signature, decision, value, durable record); only the
HTTP server is left out, which would cost both the same. CPU seconds are counted and not time, so that other work on the
machine does not count; the two take turns every few requests, and the median of the rounds' ratios is what holds.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.signing import Target, read_requests, write_requests
from turnlock import app
from turnlock.accounts import root_principal
from turnlock.config import Config
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call
from turnlock.errors import ApiError
from turnlock.shell.gate import pass_through
from turnlock.shell.server import Server
from turnlock.wire import HttpRequest

ACCOUNT, REGION = AccountId("123456789012"), Region("eu-central-1")
SECRETS, REQUESTS, TOGETHER = 100, 1500, 16
MARK = 1.10
"""The most that the user's reads may cost of the root user's."""
SCRATCH = Path(".cache")


def statements(first: int) -> str:
    """Return a policy of ten statements, of which one lets its holder read the secrets of the benchmark."""
    home = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:"
    made: list[dict[str, Any]] = [
        {
            "Sid": f"S{number}",
            "Effect": "Deny" if number % 5 == 0 else "Allow",
            "Action": ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"],
            "Resource": [f"{home}team-{number}/*", f"{home}*/team-{number}-??????"],
            "Condition": {"StringEquals": {"aws:ResourceTag/Team": f"team-{number}"}},
        }
        for number in range(first, first + 9)
    ]
    if first == 20:
        made.append({"Effect": "Allow", "Action": "secretsmanager:Get*", "Resource": f"{home}bench/*"})
    else:
        made.append({"Effect": "Allow", "Action": "kms:*", "Resource": "*"})
    return json.dumps({"Version": "2012-10-17", "Statement": made})


class Place:
    """An application with secrets, the root user's key, and a user's."""

    def __init__(self, data_dir: Path) -> None:
        config = Config(
            data_dir=data_dir, host="127.0.0.1", port=0, account_id=ACCOUNT, regions=frozenset({REGION})
        )
        app.initialise(config)
        self.application = app.build(config)
        self._services = app.services()

    def do(self, service: str, operation: str, **request: Any) -> Any:
        """Carry out an action as the root user."""
        call = Call(
            principal=root_principal(ACCOUNT),
            account_id=ACCOUNT,
            region=REGION,
            service=service,
            action=operation,
            request_id=str(uuid.uuid4()),
            source_ip="127.0.0.1",
            user_agent="bench",
            at=self.application.database.read(lambda unit: unit.now),
        )
        passage = self._services[service].passages[operation]
        outcome = self.application.database.write(lambda unit: pass_through(passage, call, request, unit))
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    def prepare(self) -> tuple[Target, Target]:
        """Store the secrets; return how the root user asks for them, and how the user does."""
        names = [f"bench/{number}" for number in range(SECRETS)]
        for name in names:
            self.do(
                "secretsmanager", "CreateSecret", Name=name, SecretString="x" * 80, ClientRequestToken=token()
            )
        self.do("iam", "CreateUser", UserName="reader")
        self.do("iam", "CreateGroup", GroupName="readers")
        self.do("iam", "AddUserToGroup", GroupName="readers", UserName="reader")
        for first in (1, 10):
            self.do("iam", "AttachUserPolicy", UserName="reader", PolicyArn=self._policy(first))
        self.do("iam", "AttachGroupPolicy", GroupName="readers", PolicyArn=self._policy(20))
        return self._target("root", names), self._target("reader", names)

    def _policy(self, first: int) -> str:
        made = self.do("iam", "CreatePolicy", PolicyName=f"p{first}", PolicyDocument=statements(first))
        return str(made["Policy"]["Arn"])

    def _target(self, user: str, names: Sequence[str]) -> Target:
        request = {} if user == "root" else {"UserName": user}
        key = self.do("iam", "CreateAccessKey", **request)["AccessKey"]
        return Target(
            host="127.0.0.1",
            region=REGION,
            key_id=key["AccessKeyId"],
            secret_key=key["SecretAccessKey"],
            names=names,
        )


def token() -> str:
    """Return a fresh ClientRequestToken."""
    return str(uuid.uuid4())


def prepared(target: Target, scratch: Path) -> list[HttpRequest]:
    """Return signed requests as the HTTP server hands them over."""
    write_requests(target, REQUESTS, scratch / "requests")
    return [parsed(raw) for raw in read_requests(scratch / "requests")]


async def costs(server: Server, asked: Sequence[Sequence[HttpRequest]]) -> list[float]:
    """Return the CPU seconds that one request of each kind costs, TOGETHER of them in flight, kind after kind in turn."""
    spent = [0.0] * len(asked)
    for first in range(0, REQUESTS, TOGETHER):
        for kind, requests in enumerate(asked):
            began = time.process_time()
            answers = await asyncio.gather(*map(server.respond, requests[first : first + TOGETHER]))
            spent[kind] += time.process_time() - began
            assert all(answer.status == 200 for answer in answers), answers[0].body
    return [seconds / REQUESTS for seconds in spent]


async def measure(rounds: int, scratch: Path) -> list[tuple[float, float]]:
    """Return the cost of a request by root and by the user, in each round."""
    place = Place(scratch / "data")
    targets = place.prepare()
    server = Server(place.application, asyncio.get_running_loop())
    measured = []
    for number in range(rounds + 1):
        root, user = await costs(server, [prepared(target, scratch) for target in targets])
        if number:  # the first one warms up
            measured.append((root, user))
            print(f"round {number}: root {root * 1e6:.0f} µs, user {user * 1e6:.0f} µs, {user / root:.1%}")
    server.close()
    return measured


def parsed(raw: bytes) -> HttpRequest:
    head, _, body = raw.partition(b"\r\n\r\n")
    fields = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    headers = tuple((name.lower(), value) for name, value in fields)
    return HttpRequest(method="POST", path="/", query="", headers=headers, body=body, source_ip="127.0.0.1")


def main(rounds: int) -> int:
    """Measure, say what came of it, and return 1 when the mark is missed."""
    SCRATCH.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="authority-", dir=SCRATCH))
    try:
        measured = asyncio.run(measure(rounds, scratch))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    ratio = median(user / root for root, user in measured)
    reached = "reached" if ratio <= MARK else "MISSED"
    print(
        f"A user with 3 policies and 30 statements costs {ratio:.1%} of root; the mark is {MARK:.0%}: {reached}."
    )
    return 0 if ratio <= MARK else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7))
