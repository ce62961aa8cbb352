"""Functions in the shape that AWS documents, in zip files with their drivers, rotate as they are: nothing is set for them."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

from tests import proofs
from tests.engines.estates import ESTATES, Estate
from tests.own_functions import ACCOUNT, Operator, archive
from tests.processes import REGION, ServerProcess
from turnlock.errors import ConfigurationError
from turnlock.local_servers import cluster
from turnlock.local_servers.process import Account

pytestmark = [pytest.mark.slow, pytest.mark.engine]

DELIVERED = Path(__file__).parent / "delivered"
ORDINARY = Account(uid=54321, gid=54321)
TIMES = 5
SUITE = "delivered functions"
SSL: Mapping[str, Any] = {"absent": None, "true": True, "false": False, "'true'": "true"}
CASES = [
    " ".join(case) for case in itertools.product(ESTATES, ("single", "multi"), SSL, ("root", "ordinary"))
]
SAMPLE = ["postgres single absent ordinary", "mysql multi absent root", "mariadb single true ordinary"]


def package(engine: str, *, multi: bool) -> dict[str, bytes]:
    """Return the files of a function's package: its code, its driver, and for PostgreSQL a libpq."""
    driver = psycopg if engine == "postgres" else pymysql
    assert driver.__file__ is not None
    root = Path(driver.__file__).parent
    files = {
        "lambda_function.py": (DELIVERED / "common.py").read_bytes(),
        "connecting.py": (DELIVERED / f"{'postgresql' if engine == 'postgres' else 'mysql'}.py").read_bytes(),
        "settings.json": json.dumps({"multi": multi}).encode(),
        **{str(path.relative_to(root.parent)): path.read_bytes() for path in root.rglob("*.py")},
    }
    if engine == "postgres":
        files["lib/libpq.so.5"] = libpq().read_bytes()
    return files


def libpq() -> Path:
    found = sorted(Path("/usr/lib").glob("*-linux-gnu/libpq.so.5"))
    if not found:
        pytest.skip("NOT RUN: there is no libpq.so.5 (Debian's package libpq5)")
    return found[0]


@contextmanager
def serving(estate: Estate, account: Account | None) -> Iterator[ServerProcess]:
    base = Path(tempfile.mkdtemp(prefix="turnlock-delivered-"))
    try:
        options = ["--regions", REGION]
        authority = estate.server.ssl_ca_path
        assert authority is not None
        shutil.copyfile(authority, base / "authority.pem")
        (base / "authority.pem").chmod(0o644)
        if account is not None:
            cluster.let_through(Path(os.path.realpath("/proc/self/exe")))
            os.chown(base, account.uid, account.gid)
        options += ["--database-ca-file", str(base / "authority.pem")]
        with ServerProcess(base / "turnlock", options=options, account=account) as server:
            yield server
    finally:
        shutil.rmtree(base, ignore_errors=True)


@dataclass(kw_only=True)
class Grounds:
    """The database servers and Turnlock servers that the cases ask for, each started once."""

    stack: ExitStack
    estates: dict[str, Estate] = field(default_factory=dict)
    operators: dict[tuple[str, str], Operator] = field(default_factory=dict)

    def estate(self, engine: str) -> Estate:
        if engine not in self.estates:
            made = ESTATES[engine](tls=True)
            try:
                made.start()
            except ConfigurationError as error:
                pytest.skip(f"NOT RUN: {error}")
            self.stack.callback(made.stop)
            self.estates[engine] = made
        return self.estates[engine]

    def operator(self, engine: str, user: str) -> Operator:
        if (engine, user) not in self.operators:
            estate = self.estate(engine)
            account = ORDINARY if user == "ordinary" else None
            made = Operator(server=self.stack.enter_context(serving(estate, account)))
            made.create_secret("master", {**estate.master(), "host": "localhost", "ssl": True})
            for kind in ("single", "multi"):
                made.create_function(
                    kind,
                    archive(package(engine, multi=kind == "multi")),
                    Handler="lambda_function.lambda_handler",
                    Environment={"Variables": {"PSYCOPG_IMPL": "python"}},
                )
            self.operators[engine, user] = made
        return self.operators[engine, user]


@pytest.fixture(scope="module")
def grounds() -> Iterator[Grounds]:
    with ExitStack() as stack:
        yield Grounds(stack=stack)


@pytest.mark.parametrize("case", proofs.chosen(SUITE, CASES, 0) if proofs.FULL else SAMPLE)
def test_a_function_as_aws_documents_it_rotates_as_it_is(grounds: Grounds, case: str) -> None:
    engine, kind, ssl, user = case.split()
    if user == "ordinary" and os.geteuid() != 0:
        pytest.skip("the server is an ordinary user's in any case: so is the case named root")
    estate, operator = grounds.estate(engine), grounds.operator(engine, user)
    value = {**estate.new_user(), "host": "localhost"}
    value.pop("ssl", None)
    if SSL[ssl] is not None:
        value["ssl"] = SSL[ssl]
    if kind == "multi":
        value["masterarn"] = operator.client("secretsmanager").describe_secret(SecretId="master")["ARN"]
    secret = operator.create_secret(value["username"], value)
    users = []
    for _ in range(TIMES):
        token = operator.rotate(secret, f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{kind}")
        operator.await_rotated(secret, token)
        rotated = operator.value(secret)
        assert estate.accepts(rotated)
        users.append(rotated["username"])
    assert len(set(users)) == (2 if kind == "multi" else 1)
    ways = connections(operator, kind, value["username"])
    assert ways == ({"plain text"} if SSL[ssl] is False else {"tls"})
    proofs.record(SUITE, case, rotations=TIMES, connections=", ".join(ways))


def connections(operator: Operator, kind: str, user: str) -> set[str]:
    """Return how the function connected for a user, as it wrote to its log."""
    logs = operator.client("logs")
    found = logs.get_paginator("filter_log_events").paginate(
        logGroupName=f"/aws/lambda/{kind}", filterPattern=f'"connected as {user}"'
    )
    messages = [event["message"] for page in found for event in page["events"]]
    return {message.partition(" by ")[2] for message in messages}
