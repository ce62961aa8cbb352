"""Where the kernel gives an ordinary user no namespaces: no local database, unless the operator says otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proofs import record
from tests.rds.tries import ROOT

pytestmark = [pytest.mark.engine, pytest.mark.slow]

SERVER = """
import json, sys, time
from pathlib import Path
base, root = sys.argv[1:]
sys.path.insert(0, root)
from tests.confinement.ordinary import become_ordinary, forbid_namespaces
become_ordinary(Path(base), Path(root))
forbid_namespaces()
import boto3
from botocore.exceptions import ClientError
from tests.processes import REGION, ServerProcess

outcomes = {}
for name, options in (("refused", ()), ("allowed", ("--allow-unconfined-databases",))):
    with ServerProcess(Path("/tmp", name), options=options) as server:
        key_id, secret = server.credentials
        rds = boto3.client("rds", region_name=REGION, endpoint_url=f"http://127.0.0.1:{server.port}",
                           aws_access_key_id=key_id, aws_secret_access_key=secret)
        try:
            rds.create_db_instance(DBInstanceIdentifier="shop", Engine="postgres", DBInstanceClass="db.t4g.micro",
                                   MasterUsername="keeper", MasterUserPassword="first-Password-1")
        except ClientError as error:
            outcomes[name] = [error.response["Error"]["Code"], error.response["Error"]["Message"]]
            continue
        until = time.monotonic() + 90
        while (one := rds.describe_db_instances()["DBInstances"][0])["DBInstanceStatus"] == "creating":
            assert time.monotonic() < until, one
            time.sleep(0.2)
        outcomes[name] = [one["DBInstanceStatus"], str(one["StatusInfos"])]
        rds.delete_db_instance(DBInstanceIdentifier="shop", SkipFinalSnapshot=True)
print(json.dumps(outcomes))
"""


@pytest.mark.skipif(not ROOT, reason="root makes the user of no account that this test needs")
def test_a_server_without_namespaces_makes_no_local_database_unless_it_is_allowed(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SERVER, str(tmp_path), str(Path(__file__).parents[2])],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "TURNLOCK_PROOF": ""},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    outcomes = json.loads(ended.stdout.splitlines()[-1])
    code, message = outcomes["refused"]
    assert code in {"InsufficientDBInstanceCapacity", "InsufficientDBInstanceCapacityFault"}
    assert "cannot confine a database server: Namespaces" in message
    assert "--allow-unconfined-databases" in message
    assert outcomes["allowed"] == ["available", "[]"]
    record("walls of databases", "CreateDBInstance without user namespaces", refused=1)
