"""The first code of a function's process: gives up what a function must not have, then runs `awslambdaric`.

Run as a script, `python -I -B launcher.py`, with a JSON object on standard input (the fields of `Orders`, which is all
that the server imports of it). Orders come that way so that credentials are neither on the command line nor in the environment
block that the kernel shows under /proc. It imports nothing of turnlock: every import here delays every cold start.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from typing import TypedDict

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38


class Orders(TypedDict):
    """What the owner wants."""

    owner_pid: int
    """The process that this one must not outlive."""
    handler: str
    """`module.function`."""
    task_root: str
    """Where the handler's module is found."""
    api_address: str
    """`127.0.0.1:PORT` of the Runtime API."""
    api_prefix: str
    """The path segment, with its slash, that proves to the Runtime API who is asking."""
    environment: dict[str, str]
    """The whole environment of the function."""
    memory_bytes: int
    open_files: int


def read_orders() -> Orders:
    """Read standard input to its end, and leave /dev/null in its place."""
    with os.fdopen(os.dup(0), "rb") as source:
        orders: Orders = json.load(source)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return orders


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_ulong(number) for number in (value, 0, 0, 0))
    if libc.prctl(ctypes.c_int(option), *arguments) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def die_with_owner(owner_pid: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends; end now if it has already.

    The signal is bound to the starting *thread*: the owner starts functions from one that lives as long as it does.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner_pid:
        sys.exit("the owner is gone")


def give_up_powers() -> None:
    """No set-user-id programs, no core dumps, no tracing by others of the same user; private files."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    os.umask(0o077)


def limit(kind: int, wanted: int) -> None:
    """Lower one resource limit for good; what is already lower stays."""
    hard = resource.getrlimit(kind)[1]
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (value, value))


def dress(environment: dict[str, str]) -> None:
    """Replace the environment, and let the C library read the time zone anew."""
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()


def main() -> None:
    """Carry the orders out; returns never."""
    orders = read_orders()
    die_with_owner(orders["owner_pid"])
    give_up_powers()
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_NOFILE, orders["open_files"])
    limit(resource.RLIMIT_AS, orders["memory_bytes"])
    dress(orders["environment"])
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
