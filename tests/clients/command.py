"""Carries out one `aws` command for each line on standard input: the command's own program, started once for many.

["secretsmanager", "list-secrets"]  →  {"status": 0, "out": "…", "err": "…"}
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import Any

from awscli.clidriver import create_clidriver


def run(driver: Any, arguments: list[str]) -> dict[str, object]:
    """Return the exit status of one command and what it wrote."""
    raw, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(raw, "utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = driver.main(arguments)
        out.flush()
    return {"status": status, "out": raw.getvalue().decode(), "err": err.getvalue()}


if __name__ == "__main__":
    command = create_clidriver()
    for line in sys.stdin:
        print(json.dumps(run(command, json.loads(line))), flush=True)
