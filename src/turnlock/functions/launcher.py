"""The first code of a function's process: puts the walls up, then runs `awslambdaric` or the function's own program.

Run as a script, `python -I -B launcher.py`, with a JSON object on standard input (`confinement.orders.Orders`). Orders come
that way so that credentials are neither on the command line nor in the environment block that the kernel shows under /proc.
Of turnlock it imports the room `confinement` and nothing else: every import here delays every cold start.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from turnlock.confinement import kernel, walls
from turnlock.confinement.orders import Orders


def read_orders() -> Orders:
    """Read standard input to its end, and leave /dev/null in its place."""
    with os.fdopen(os.dup(0), "rb") as source:
        orders: Orders = json.load(source)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return orders


def die_with_owner(owner_pid: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends; end now if it has already.

    The signal is bound to the starting *thread*: the owner starts functions from one that lives as long as it does.
    """
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner_pid:
        sys.exit("the owner is gone")


def dress(environment: dict[str, str]) -> None:
    """Replace the environment, and let the C library read the time zone anew."""
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()


def main() -> None:
    """Carry the orders out; returns never."""
    orders = read_orders()
    keep_owner = partial(die_with_owner, orders["owner_pid"])
    keep_owner()
    walls.confine(orders["confinement"], keep_owner)
    dress(orders["environment"])
    os.chdir(orders["work_in"])
    if orders["command"]:
        os.execv(orders["command"][0], orders["command"])  # noqa: S606 -- no shell is wanted
    sys.path.insert(0, orders["task_root"])
    run_client(orders)


def run_client(orders: Orders) -> None:
    """Hand over to the official client, whose loop ends only with the process."""
    from awslambdaric import bootstrap  # noqa: PLC0415 -- reads the environment when it is imported
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient  # noqa: PLC0415 -- as above

    class Client(LambdaRuntimeClient):  # type: ignore[misc]
        """Its native part takes the prefix from AWS_LAMBDA_RUNTIME_API; its Python part knows only host and port."""

        def call_rapid(self, http_method: str, endpoint: str, *args: object, **kwargs: object) -> None:
            super().call_rapid(http_method, orders["api_prefix"] + endpoint, *args, **kwargs)

    bootstrap.run(orders["handler"], Client(orders["api_address"]))


if __name__ == "__main__":
    main()
