"""What to try next: commands that can be pasted into a second terminal as they are."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from turnlock.cli.demo.server import REGION, ChildServer
from turnlock.cli.demo.shop import DATABASE, LOGIN, SECRET
from turnlock.local_servers import EmbeddedPostgres, bundled_programs


def next_steps(server: ChildServer, database: EmbeddedPostgres) -> str:
    """Return the commands, each below a line that says what it shows."""
    aws, named = "aws secretsmanager", f"--secret-id {SECRET}"
    segments = f"{shlex.quote(str(server.place.server / 'trail'))}/*.segment"
    last_record = f"cat {segments} | tr -d '\\0' | tail -n 1 | cut -d ' ' -f 3- | {_python()} -m json.tool"
    parts = [
        "Try these in a second terminal:",
        _surroundings(server),
        f"# what is known of the secret: versions, labels, when it was rotated and will be\n{aws} describe-secret {named}",
        f"# its value, and a rotation of your own\n{aws} get-secret-value {named}\n{aws} rotate-secret {named}",
        f"# the database, with the password of this moment\n{_login(database)}",
        f"# the trail: the last record of a read\n{last_record}",
    ]
    return "\n\n".join(parts) + "\n"


def _surroundings(server: ChildServer) -> str:
    """Return the export lines: what an SDK needs, and what this machine makes necessary."""
    variables = {
        "AWS_SHARED_CREDENTIALS_FILE": str(server.place.credentials),
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,  # what boto3 and the first aws CLI read
    }
    if any(name in os.environ for name in ("http_proxy", "HTTP_PROXY")):
        variables["NO_PROXY"] = "127.0.0.1"
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    programs = Path(sys.executable).parent
    if shutil.which("aws") is None and (programs / "aws").exists():
        lines.append(f"export PATH={shlex.quote(str(programs))}:$PATH")
    return "\n".join(lines)


def _login(database: EmbeddedPostgres) -> str:
    """Return a command that reads the password and asks the database what the application has done."""
    read = f"aws secretsmanager get-secret-value --secret-id {SECRET} --query SecretString --output text"
    password = f"{read} | {_python()} -c 'import json; print(json.loads(input())[\"password\"])'"
    where = f"-h {database.host} -p {database.port} -U {LOGIN} {DATABASE}"
    return f"PGPASSWORD=$({password}) \\\n  {_psql()} {where} -c 'TABLE visits ORDER BY id DESC LIMIT 5'"


def _psql() -> str:
    return "psql" if shutil.which("psql") else shlex.quote(str(bundled_programs() / "psql"))


def _python() -> str:
    return "python3" if shutil.which("python3") else shlex.quote(sys.executable)
