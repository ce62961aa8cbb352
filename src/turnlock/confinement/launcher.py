"""The first code of a confined child: reads its orders, puts the walls up, and becomes the program that it was ordered to be.

Run as a script, `python -I -B launcher.py`, with the orders (`orders.Orders`) as JSON on standard input: so credentials are neither
on the command line nor in the environment block that the kernel shows under /proc. It imports nothing of turnlock but this room.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from turnlock.confinement import kernel, walls
from turnlock.confinement.orders import Orders


def read_orders() -> Any:
    """Read standard input to its end, and leave /dev/null in its place."""
    with os.fdopen(os.dup(0), "rb") as source:
        orders = json.load(source)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return orders


def tie_to_owner(owner_pid: int, number: int) -> None:
    """Ask the kernel to signal this process when the thread that started it ends; end now if it has already.

    The signal is bound to the starting *thread*: an owner starts children from one that lives as long as they may.
    """
    kernel.prctl(kernel.PR_SET_PDEATHSIG, number)
    if os.getppid() != owner_pid:
        sys.exit("the owner is gone")


def dress(environment: dict[str, str]) -> None:
    """Replace the environment, and let the C library read the time zone anew."""
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()


def settle(orders: Orders) -> bool:
    """Carry out all of the orders but the last two, to go to `work_in` and to become the program.

    Returns in the child's own process: whether it has a root directory of its own, in which places are where they were ordered to be.
    """
    if orders["owner_signal"] != signal.SIGKILL:
        signal.signal(orders["owner_signal"], signal.SIG_DFL)  # a shell ignores some for background programs
    keep_owner = partial(tie_to_owner, orders["owner_pid"], orders["owner_signal"])
    keep_owner()
    home = walls.confine(orders["confinement"], keep_owner)
    apart = home != orders["confinement"]["home"]
    moved = {} if apart else {place["target"]: place["source"] for place in orders["confinement"]["places"]}
    named = {name: moved.get(value, value) for name, value in orders["environment"].items()}
    dress({**named, "HOME": home, "TMPDIR": home})
    return apart


def become(command: list[str]) -> None:
    """Execute the program; OSError when it cannot be."""
    os.execv(command[0], command)  # noqa: S606 -- no shell is wanted


if __name__ == "__main__":
    given: Orders = read_orders()
    settle(given)
    os.chdir(given["work_in"] or os.environ["HOME"])
    if given["command"]:
        become(given["command"])
