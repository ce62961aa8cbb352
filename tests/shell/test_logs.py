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
from turnlock import logs

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


FULL = """
import resource, structlog
from turnlock import logs

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
        "import structlog; from turnlock import logs; logs.configure(); log = structlog.get_logger()\n"
        "token = logs.REQUEST_ID.set('r-1'); log.info('a', action='a')\n"
        "log.info('b', action='b', request_id='r-2'); logs.REQUEST_ID.reset(token); log.info('c', action='c')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    named = [json.loads(line).get("request_id") for line in done.stderr.splitlines()]
    assert named == ["r-1", "r-2", None]
