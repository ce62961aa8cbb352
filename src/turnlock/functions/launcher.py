"""The first code of a function's process: puts the walls up, then runs `awslambdaric` or the function's own program.

Run as a script, `python -I -B launcher.py`, with `FunctionOrders` on standard input, as `confinement.launcher` is.
Of turnlock it imports the room `confinement` and nothing else: every import here delays every cold start.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from turnlock.confinement import launcher
from turnlock.confinement.orders import Orders


class FunctionOrders(Orders):
    """What the pool wants; with an empty `command` for a Python handler, which the launcher itself becomes."""

    handler: str
    """`module.function`."""
    task_root: str
    """Where the handler's module is found."""
    api_address: str
    """`127.0.0.1:PORT` of the Runtime API."""
    api_prefix: str
    """The path segment, with its slash, that proves to the Runtime API who is asking."""


def main() -> None:
    """Carry the orders out; returns never."""
    orders: FunctionOrders = launcher.read_orders()
    launcher.settle(orders)
    if orders["command"]:
        launcher.become(orders["command"])
    sys.path.insert(0, orders["task_root"])
    run_client(orders)


def run_client(orders: FunctionOrders) -> None:
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
