"""`turnlock rotation rehearse` against a running server and a real PostgreSQL: what it says, its status, and that nothing changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.clients.conftest import Served
from tests.processes import REGION, ServerProcess
from tests.rotated import new_role, rotate
from turnlock.local_servers import EmbeddedPostgres

pytestmark = [pytest.mark.slow, pytest.mark.engine]


@pytest.fixture
def served_one(tmp_path: Path) -> Iterator[Served]:
    with ServerProcess(tmp_path / "turnlock", options=("--regions", REGION)) as process:
        yield Served(process=process)


def rehearse(served: Served, secret: str) -> subprocess.CompletedProcess[str]:
    place = ("--region", REGION, "--data-dir", str(served.process.data_dir))
    return subprocess.run(
        [sys.executable, "-m", "turnlock", "rotation", "rehearse", secret, *place],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_rehearsal_says_what_would_happen_and_changes_nothing(
    served_one: Served, postgresql_server: EmbeddedPostgres
) -> None:
    role, client = new_role(postgresql_server), served_one.client()
    arn = client.create_secret(Name=role.name, SecretString=role.value())["ARN"]
    early = rehearse(served_one, role.name)
    assert (early.returncode, early.stdout) == (2, "")
    assert "has no rotation function. Set one first, without rotating: RotateSecret with" in early.stderr
    rotate(client, arn)
    before = client.describe_secret(SecretId=arn), client.get_secret_value(SecretId=arn), role.verifier()
    good = rehearse(served_one, role.name)
    assert good.returncode == 0, good.stdout + good.stderr
    assert f"would be given to {role.name} by the user itself" in good.stdout
    after = client.describe_secret(SecretId=arn), client.get_secret_value(SecretId=arn), role.verifier()
    for each in (*before[:2], *after[:2]):
        each.pop("ResponseMetadata")
        each.pop("LastAccessedDate", None)
    assert after == before
    with psycopg.connect(postgresql_server.admin_url(driver=None), autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD 'changed by hand'").format(sql.Identifier(role.name)))
    bad = rehearse(served_one, role.name)
    assert bad.returncode == 1
    assert "PROBLEM  login: AWSCURRENT refused" in bad.stdout
    assert bad.stdout.endswith("Nothing: the rotation would fail before it changes anything.\n")
