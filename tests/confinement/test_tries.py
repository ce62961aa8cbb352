"""Every try of a function, on behalf of every kind of server; the table of docs/proofs.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests import proofs
from tests.confinement.tries import TRIES
from turnlock.confinement import landlock, seccomp

KINDS = ("root", "ordinary user", "without user namespaces", "without cgroups")
BETWEEN = ("run between two events by waking each other", "run between two events by a timer")
NAMES = (*TRIES, *BETWEEN)
OPEN_WITHOUT_NAMESPACES = frozenset(
    {
        "learn that the root key is there",
        "change the mode of the root key",
        "change the mode of the data directory",
        "change the times of the root key",
        "change the owner of the root key",
        "set an attribute of the root key",
        "read the attributes of the root key",
        "go to the data directory",
        "open the data directory as a place",
        "watch the data directory",
        "see how full the data directory's disk is",
        "find an open file of the server among its own",
        "change the mode of its own code",
        "connect to a socket of the server's user",
        "connect to a socket that is open to all",
        "send to a datagram socket of the machine",
        "be in a group that opens something",
    }
)
"""What Landlock and the filter leave to an ordinary user's functions: so one's own are refused there (SECURITY.md)."""
DOCUMENT = Path(__file__).parents[2] / "docs" / "proofs.md"
_BEGIN, _END = "<!-- tries: written by tests/confinement/test_tries.py -->\n", "<!-- tries end -->\n"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="root makes the other kinds of servers"),
    pytest.mark.skipif(landlock.abi() < landlock.WHOLE, reason="this kernel cannot confine a function whole"),
    pytest.mark.skipif(os.uname().machine not in seccomp.MACHINES, reason="no table of system calls here"),
]


@cache
def outcomes(kind: str) -> dict[str, str]:
    """Run all tries on behalf of one kind of server."""
    root = Path(__file__).parents[2]
    base = Path(tempfile.mkdtemp(prefix="turnlock-tries-"))
    base.chmod(0o755)
    try:
        ended = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("condition.py")), kind, str(base), str(root)],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            cwd="/",
        )
    finally:
        shutil.rmtree(base, ignore_errors=True)
    assert ended.returncode == 0, ended.stderr
    told: dict[str, str] = json.loads(ended.stdout.splitlines()[-1])
    return told


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


def test_there_are_more_tries_than_sixty() -> None:
    assert len(NAMES) >= 60


@pytest.mark.parametrize("name", NAMES)
def test_a_try_is_held(kind: str, name: str) -> None:
    told = outcomes(kind)
    assert name in told, told
    if kind == "without user namespaces" and name in OPEN_WITHOUT_NAMESPACES:
        assert told[name].startswith("open"), "one less to name in SECURITY.md"
    else:
        assert told[name].startswith("held"), told[name]
    proofs.record("tries", f"{kind}: {name}", outcome=told[name])


def test_the_table_of_the_documents_is_of_these_tries() -> None:
    """In the proof the table is written; else it must only name the same tries."""
    before, _, rest = DOCUMENT.read_text().partition(_BEGIN)
    table, _, after = rest.partition(_END)
    if proofs.FULL:
        DOCUMENT.write_text(before + _BEGIN + written() + _END + after)
        return
    assert tuple(re.findall(r"^\| ([^|]+?) \|", table, re.MULTILINE)[1:]) == NAMES


def written() -> str:
    """Return the table: a row for each try, a column for each kind of server."""
    rows = [f"| a function tries to | {' | '.join(KINDS)} |", f"|{'---|' * (len(KINDS) + 1)}"]
    for name in NAMES:
        cells = [outcomes(kind).get(name, "").split(":")[0] for kind in KINDS]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"
