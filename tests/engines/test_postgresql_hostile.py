"""Nobody gains a right by a rotation or its rehearsal, whatever others have put into the database."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests import proofs
from tests.engines.hostile_postgresql import PASSWORD, Drawer, Hostile
from tests.engines.rights_postgresql import canaries, gains, rights
from tests.sampling import examples
from turnlock.local_servers import EmbeddedPostgres
from turnlock.rotators import RotationError, handle
from turnlock.rotators.postgresql_multi_user import ENGINE, STRATEGIES
from turnlock.rotators.skeleton import SINGLE_USER
from turnlock.rotators.testing import InMemorySecretsManager

pytestmark = [pytest.mark.engine, pytest.mark.slow]

MASTER_ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:master-AbCdEf"
STEPS = ("rehearse", "createSecret", "setSecret", "testSecret", "finishSecret", "probe")
BATCH = 50
SETTINGS = {"log_min_messages": "warning", "max_connections": "30", "log_error_verbosity": "terse"}


@pytest.fixture(scope="module", params=[18, 15])
def estate(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory,
        EmbeddedPostgres(
            Path(directory) / "cluster", tls=request.param == 15, fsync=False, settings=SETTINGS
        ) as server,
    ):
        yield server


def secret_of(server: EmbeddedPostgres, hostile: Hostile) -> InMemorySecretsManager:
    place = {
        "engine": "postgres",
        "host": "127.0.0.1",
        "port": server.port,
        "ssl": server.ssl_ca_path is not None,
    }
    value: dict[str, Any] = {**place, "username": hostile.app, "password": PASSWORD, "dbname": hostile.name}
    if not hostile.single:
        value["masterarn"] = MASTER_ARN
    if hostile.strategy is not None:
        value["rotationStrategy"] = hostile.strategy
    if hostile.owner_role is not None:
        value["ownerRole"] = hostile.owner_role
    secret = InMemorySecretsManager(value)
    secret.label("second", "AWSPENDING")
    secret.others[MASTER_ARN] = json.dumps({**place, "username": hostile.master, "password": PASSWORD})
    return secret


def rotate(secret: InMemorySecretsManager, hostile: Hostile) -> str:
    """Take every step, then another rotation back; return how far it came."""
    strategies = SINGLE_USER if hostile.single else STRATEGIES
    ended = "rotated"
    for version in ("second", "third"):
        secret.label(version, "AWSPENDING")
        for step in STEPS:
            event = {"Step": step, "SecretId": secret.arn, "ClientRequestToken": version}
            try:
                handle(event, ENGINE, secret, strategies)
            except (RotationError, ValueError, KeyError):
                ended = f"refused at {step}"
                break
    return ended


def try_one(server: EmbeddedPostgres, number: int) -> tuple[str, Hostile, list[str]]:
    """Make a hostile database, rotate in it, and return what came of it, and who gained what."""
    with psycopg.connect(server.conninfo("postgres", server.password), autocommit=True) as admin:
        hostile = Drawer(server, f"{proofs.SEED} {number}", number).make(admin)
        with psycopg.connect(
            server.conninfo("postgres", server.password, hostile.name), autocommit=True,
            options="-c search_path=pg_catalog -c role=none -c client_encoding=utf8"
            + (" -c event_triggers=off" if admin.info.server_version >= 170000 else ""),
        ) as root:  # fmt: skip
            before, since = rights(root), server.log_path.stat().st_size
            ended = rotate(secret_of(server, hostile), hostile)
            found = gains(hostile, before, rights(root))
        found += canaries(hostile, server.log_path.read_bytes()[since:])
        _clear(admin, hostile)
    return ended, hostile, found


def _clear(admin: psycopg.Connection, hostile: Hostile) -> None:
    admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(hostile.name)))
    roles = admin.execute(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE %s", (f"{hostile.name}%",)
    ).fetchall()
    names = [
        sql.Identifier(name) for (name,) in roles if name.startswith((f"{hostile.name}_", f"{hostile.name} "))
    ]
    for name in names:
        admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(name))
    for name in names:
        admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name))


def batches() -> list[int]:
    return list(range(500 // BATCH)) if proofs.FULL else [0]


@pytest.mark.parametrize("batch", batches())
def test_no_hostile_database_gains_a_right_or_has_code_run(
    estate: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    if estate.ssl_ca_path:
        monkeypatch.setenv("SSL_CA_FILE", str(estate.ssl_ca_path))
    endings, harm = Counter[str](), list[str]()
    for number in range(batch * BATCH, batch * BATCH + (BATCH if proofs.FULL else examples(40))):
        ended, hostile, found = try_one(estate, number)
        endings[ended] += 1
        if found:
            harm.append(f"{number} {hostile.strategy} {hostile.owner_role!r} {ended}: {found}")
            harm += hostile.drawn if len(harm) < 2 else []
    assert not harm, "\n".join(harm)
    assert endings["rotated"] > sum(endings.values()) / 4, endings
    case = f"postgresql-{'15' if estate.ssl_ca_path else '18'}-{batch}"
    figures = {ending.replace(" ", "_"): count for ending, count in sorted(endings.items())}
    proofs.record("hostile databases", case, databases=sum(endings.values()), **figures)
