"""Runtimes: which program takes a function's events."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

NODE_CLIENT: Final = Path(__file__).parents[1] / "node_client.mjs"

_PYTHON = re.compile(r"python3\.[0-9]+")
_NODE = re.compile(r"nodejs[0-9]+\.x")
_PROVIDED = re.compile(r"provided(\.al2|\.al2023)?")


class NoRuntime(ValueError):
    """The runtime is not served on this machine; the text says why."""


def is_python(runtime: str) -> bool:
    """Tell whether the launcher itself becomes the function, in the server's own interpreter."""
    return _PYTHON.fullmatch(runtime) is not None


def is_interpreted(runtime: str) -> bool:
    """Tell whether a function of this runtime is source that an interpreter of this machine reads."""
    return is_python(runtime) or _NODE.fullmatch(runtime) is not None


def command(runtime: str, task_root: Path) -> tuple[str, ...]:
    """Return the program that takes the events; empty for Python's. Raises NoRuntime."""
    if is_python(runtime):
        return ()
    if _PROVIDED.fullmatch(runtime):
        return (str(task_root / "bootstrap"),)
    if _NODE.fullmatch(runtime) is None:
        raise NoRuntime(f"The runtime {runtime} is not served: python3.x, nodejs*, provided.* are.")
    node = shutil.which("node")
    if node is None:
        raise NoRuntime(f"The runtime {runtime} needs node, which is not on this machine.")
    return (node, str(NODE_CLIENT))


def check(runtime: str) -> None:
    """Raise NoRuntime unless this machine serves the runtime."""
    command(runtime, Path("/"))
