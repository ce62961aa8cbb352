"""One kind of server, and what functions of its own come to that try everything: a script, `condition.py KIND BASE ROOT`.

KIND is `root`, `ordinary user`, `without user namespaces` or `without cgroups`; the outcomes are one line of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SERVER_WORDS = "condition.py"
GROUP = 54399
FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:"


def enter(kind: str, base: Path, root: Path) -> None:
    """Become the server that is asked for."""
    from tests.confinement.ordinary import become_ordinary, forbid_namespaces
    from turnlock.confinement import cgroups, kernel

    if kind in {"ordinary user", "without user namespaces"}:
        become_ordinary(base, root / "tests", groups=[GROUP])
    if kind == "without user namespaces":
        forbid_namespaces()
    if kind == "without cgroups":
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
        for _, place in list(cgroups._mounts()):
            kernel.unmount(str(place))


def furnish(base: Path) -> tuple[dict[str, Any], list[socket.socket]]:
    """Make what there is to be reached, with modes that stop nobody."""
    data = base / "data"
    data.mkdir()
    for name, mode in (("root.key", 0o666), ("group", 0o640)):
        (data / name).write_text("k" * 32)
        (data / name).chmod(mode)
    os.chown(data / "group", -1, GROUP)
    data.chmod(0o777)
    (base / "neighbour").mkdir()
    (base / "neighbour" / "code.py").write_text("SECRET = 1")
    kept = []
    for name, kind in (
        ("agent", socket.SOCK_STREAM),
        ("wide", socket.SOCK_STREAM),
        ("datagram", socket.SOCK_DGRAM),
    ):
        line = socket.socket(socket.AF_UNIX, kind)
        line.bind(str(base / name))
        (base / name).chmod(0o700 if name == "agent" else 0o777)
        kept.append(line)
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0turnlock-tries-{os.getpid()}")
    kept.append(abstract)
    for line in kept:
        if line.type == socket.SOCK_STREAM:
            line.listen(8)
    world = {
        "data": str(data),
        "key": str(data / "root.key"),
        "group_file": str(data / "group"),
        "neighbour": str(base / "neighbour" / "code.py"),
        "agent": str(base / "agent"),
        "wide": str(base / "wide"),
        "datagram": str(base / "datagram"),
        "abstract": f"turnlock-tries-{os.getpid()}",
        "server": os.getpid(),
        "server_words": SERVER_WORDS,
    }
    return world, kept


def run(kind: str, base: Path, root: Path) -> dict[str, str]:
    """Run the tries on behalf of one function, and see whether what it leaves behind runs between two events."""
    from turnlock.confinement import places
    from turnlock.functions.model import MIB, Program
    from turnlock.functions.runtime.runner import Functions

    world, kept = furnish(base)
    task_root = base / "task"
    task_root.mkdir()
    shutil.copy(root / "tests" / "confinement" / "tries.py", task_root)
    task_root.chmod(0o755)
    world["task_root"] = str(task_root)
    world["places"] = [
        *places.interpreter_places(),
        *places.system_places(),
        str(task_root),
        "/var/task",
        "/var/runtime",
    ]
    demand = "offered" if kind == "without user namespaces" else "required"

    def find(arn: str) -> Program:
        return Program(
            name="tries",
            log_group="/aws/lambda/tries",
            handler=f"tries.{arn.rpartition(':')[2]}",
            timeout_seconds=60,
            memory_bytes=256 * MIB,
            address_margin=1024 * MIB,
            disk_bytes=64 * MIB,
            task_root=task_root,
            demand=demand,  # type: ignore[arg-type]
            freezes=True,
            nice=10,
        )

    if (
        demand == "offered"
    ):  # what is tried then is what hosted functions could, and those of `--allow-unconfined-functions`
        refused = Functions(
            "http://127.0.0.1:1", hosted={}, find=lambda arn: replace(find(arn), demand="required")
        )
        told_first = str(invoke(refused, "handler", world))
        refused.close()
        if not told_first.startswith("Turnlock.NotConfined"):
            return {"be refused": told_first}
    functions = Functions("http://127.0.0.1:1", hosted={}, find=find)
    try:
        outcome = invoke(functions, "handler", world)
        told: dict[str, str] = outcome if isinstance(outcome, dict) else {"": str(outcome)}
        for name, sentence in (
            ("wake", "run between two events by waking each other"),
            ("alarm", "run between two events by a timer"),
        ):
            outcome = invoke(functions, name, world)
            time.sleep(1.0)  # the reaper has looked by then
            before = cpu_seconds()
            time.sleep(0.5)
            told[sentence] = (
                "held: at rest" if cpu_seconds() - before < 0.05 and outcome == "left" else f"open: {outcome}"
            )
    finally:
        functions.close()
    for line in kept:
        line.close()
    return told


def invoke(functions: Any, name: str, world: dict[str, Any]) -> Any:
    """Return a handler's answer, or its fault."""
    from turnlock.core.credentials import TemporaryCredentials
    from turnlock.functions import Invocation

    def credentials() -> TemporaryCredentials:
        until = datetime.now(UTC) + timedelta(hours=1)
        return TemporaryCredentials(
            access_key_id="A", secret_access_key="key", session_token="token", expires_at=until
        )

    asked = Invocation(function_arn=FUNCTION + name, secret_arn=name, payload=world, credentials=credentials)
    result = functions.invoke(asked, abort=threading.Event())
    return result.payload if result.fault is None else f"{result.fault.error_type}: {result.fault.message}"


def cpu_seconds() -> float:
    """Return the CPU time of all processes that descend from this one, this one aside."""
    from turnlock.functions.runtime.watch import _descendants, _ticks

    return sum(_ticks(process) for process in _descendants(os.getpid()) if process != os.getpid()) / 100


if __name__ == "__main__":
    kind, base, root = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    sys.path.append(str(root))
    (base / "root").mkdir()
    enter(kind, base / "root", root)
    here = base if kind in {"root", "without cgroups"} else Path("/tmp/world")
    here.mkdir(exist_ok=True)
    here.chmod(0o755)
    with open(os.devnull, "w") as null:  # noqa: PTH123
        stdout, sys.stdout = sys.stdout, null
        told = run(kind, here, root)
        sys.stdout = stdout
    print(json.dumps(told))
