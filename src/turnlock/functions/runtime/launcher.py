"""The first code of a function's process: puts the walls up, then runs `awslambdaric` or the function's own program.

Run as a script, `python -I -B launcher.py`, with `FunctionOrders` on standard input, as `confinement.launcher` is.
Of turnlock it imports the room `confinement` and nothing else: every import here delays every cold start.

A Python handler runs in this very process. Only where the package brings shared libraries, or the function's environment says where to
look for some, Python is started once more: the C library reads LD_LIBRARY_PATH when a program starts, and never again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[3]))

from turnlock.confinement import launcher
from turnlock.confinement.orders import Orders

_CLIENT = "--client"
_LIBRARIES = "{root}:{root}/lib:/opt/lib"


class FunctionOrders(Orders):
    """What the pool wants; with an empty `command` for a Python handler. Paths in the package begin with `task_root`."""

    task_root: str
    """Where the child sees the package: `/var/task`, as on Lambda."""
    task_source: str
    """Where the package lies, which is where the child sees it if it has no root directory of its own."""


def main() -> None:
    """Carry the orders out; returns never."""
    orders: FunctionOrders = launcher.read_orders()
    apart = launcher.settle(orders)
    root = orders["task_root"] if apart else orders["task_source"]
    os.chdir(orders["work_in"].replace(orders["task_root"], root, 1) or os.environ["HOME"])
    os.environ["LAMBDA_TASK_ROOT"] = root
    libraries_named = "LD_LIBRARY_PATH" in os.environ
    os.environ.setdefault("LD_LIBRARY_PATH", _LIBRARIES.format(root=root))
    python_path = os.environ.setdefault("PYTHONPATH", root)
    if orders["command"]:
        launcher.become([part.replace(orders["task_root"], root, 1) for part in orders["command"]])
    if libraries_named or _brings_libraries(root):
        launcher.become([sys.executable, "-I", "-B", __file__, _CLIENT])
    run_client(root, python_path)


def _brings_libraries(root: str) -> bool:
    """Tell whether a package has shared libraries where LD_LIBRARY_PATH finds them."""
    return any(
        name.startswith("lib") and ".so" in name
        for directory in (root, f"{root}/lib")
        if os.path.isdir(directory)  # noqa: PTH112 -- pathlib's iteration is dearer, and this is every cold start
        for name in os.listdir(directory)  # noqa: PTH208 -- as above
    )


def run_client(root: str, python_path: str) -> None:
    """Hand over to the official client, whose loop ends only with the process."""
    sys.path[:0] = list(dict.fromkeys([root, *(part for part in python_path.split(":") if part)]))
    address, _, prefix = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
    from awslambdaric import bootstrap  # noqa: PLC0415 -- reads the environment when it is imported
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient  # noqa: PLC0415 -- as above

    class Client(LambdaRuntimeClient):  # type: ignore[misc]
        """Its native part takes the prefix from AWS_LAMBDA_RUNTIME_API; its Python part knows only host and port."""

        def call_rapid(self, http_method: str, endpoint: str, *args: object, **kwargs: object) -> None:
            super().call_rapid(http_method, f"/{prefix}{endpoint}", *args, **kwargs)

    class OneLinePerEvent(bootstrap.StandardLogSink):  # type: ignore[misc]
        """Writes each message of `logging` as one line, as awslambdaric does with a traceback: one log event."""

        def log(self, msg: str, frame_type: object = None) -> None:
            super().log(msg.rstrip("\n").replace("\n", bootstrap.ERROR_LOG_LINE_TERMINATE) + "\n", frame_type)

    bootstrap.StandardLogSink = OneLinePerEvent
    bootstrap.run(os.environ["_HANDLER"], Client(address))


if __name__ == "__main__":
    if sys.argv[1:] == [_CLIENT]:
        run_client(os.environ["LAMBDA_TASK_ROOT"], os.environ["PYTHONPATH"])
    main()
