"""Logs: one JSON object a line on standard error, whatever text is in it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import turnlock

PROGRAM = r"""
import structlog
from turnlock.shell import logs

logs.configure()
log = structlog.get_logger()
log.info("first", action="a", text="two\nlines \x1b[31m \u2028 \x00")
log.debug("not shown", action="b")
password = "local-marker"
try:
    raise ValueError("the reason")
except ValueError:
    log.exception("it failed", action="c")
"""


def test_lines_are_json_with_a_time_and_without_local_variables() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == ""
    first, second = (json.loads(line) for line in done.stderr.splitlines())
    assert first["text"] == "two\nlines \x1b[31m \u2028 \x00"
    assert (first["action"], first["level"], first["event"]) == ("a", "info", "first")
    assert first["at"].endswith("Z")
    assert (second["action"], second["level"]) == ("c", "error")
    assert "ValueError: the reason" in second["exception"]
    assert "local-marker" not in done.stderr
    assert "\x1b" not in done.stderr


EXPECTED = """
import structlog
from turnlock.shell import logs
from turnlock.errors import CommitFailed

logs.configure()
log = structlog.get_logger()

def away():
    from sqlalchemy.exc import OperationalError
    raise OperationalError("SELECT 1", {"value": "a-parameter"}, Exception("the server is away\\nIs it running?"))

def commit():
    try:
        away()
    except Exception as error:
        raise CommitFailed("The commit failed (OperationalError).") from error

for work in (away, commit, lambda: open("/nowhere/at/all")):
    try:
        work()
    except Exception:
        log.exception("it failed", action="c")
"""


def test_what_is_expected_to_fail_is_told_in_a_sentence_without_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXPECTED], capture_output=True, text=True, timeout=60, check=True
    )
    told = [json.loads(line)["exception"] for line in done.stderr.splitlines()]
    assert told == [
        "OperationalError: (builtins.Exception) the server is away",
        (
            "CommitFailed: The commit failed (OperationalError).; OperationalError: (builtins.Exception)"
            " the server is away"
        ),
        "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/at/all'",
    ]


FULL = """
import resource, structlog
from turnlock.shell import logs

logs.configure()
log = structlog.get_logger()
log.info("room")
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
for _ in range(3):
    try:
        raise ValueError("the reason" * 50)
    except ValueError:
        log.exception("no room")
print("went on")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.info("room again")
"""


def test_a_log_whose_disk_is_full_stops_nobody(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        done = subprocess.run(
            [sys.executable, "-c", FULL],
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            timeout=60,
            check=True,
        )
    assert done.stdout == "went on\n"
    assert '"room again"' in (tmp_path / "log").read_text().splitlines()[-1]


def test_every_line_that_the_server_can_log_has_an_action() -> None:
    calls = 0
    for path in sorted(Path(turnlock.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "log"):
                continue
            assert "action" in {one.arg for one in node.keywords}, f"{path}:{node.lineno}"
            calls += 1
    assert calls > 20


def test_a_line_names_the_request_that_is_being_carried_out() -> None:
    program = (
        "import structlog; from turnlock.shell import logs; logs.configure(); log = structlog.get_logger()\n"
        "token = logs.REQUEST_ID.set('r-1'); log.info('a', action='a')\n"
        "log.info('b', action='b', request_id='r-2'); logs.REQUEST_ID.reset(token); log.info('c', action='c')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    named = [json.loads(line).get("request_id") for line in done.stderr.splitlines()]
    assert named == ["r-1", "r-2", None]
