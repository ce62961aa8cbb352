"""A server that is told on: at each moment of each rotation step it tells the conductor, and waits for its word.

    python watched.py CONDUCTOR_PORT --data-dir DIR --listen HOST:PORT [--database URL] [--lease-seconds N]
                      [--first-delay SECONDS]

Production code has no such switch: this composes a server of the tests' own from the same parts. The wait after a first failed
attempt that endangers nobody, 30 s, can be shortened here.
"""

from __future__ import annotations

import argparse
import json
import socket
from datetime import timedelta
from functools import partial
from pathlib import Path

from turnlock import app
from turnlock.config import Config, parse_listen, parse_regions
from turnlock.rotation.plan import machine as model
from turnlock.rotation.plan.states import Step
from turnlock.rotation.store import PlanRow
from turnlock.shell import logs, workers


def tell(port: int, moment: str, row: PlanRow, step: Step) -> None:
    """Tell the conductor where a rotation is, and go on when it answers or is gone."""
    told = {"moment": moment, "step": step.value, "token": row.plan.token}
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.sendall(json.dumps(told).encode() + b"\n")
        connection.recv(1)


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("conductor_port", type=int)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--listen", type=parse_listen, required=True)
    parser.add_argument("--database")
    parser.add_argument("--lease-seconds", type=float, default=15.0)
    parser.add_argument("--first-delay", type=float)
    options = parser.parse_args()
    if options.first_delay is not None:
        setattr(model, "FIRST_DELAY", timedelta(seconds=options.first_delay))  # noqa: B010  (it is Final to others)
    logs.configure()
    config = Config(
        data_dir=options.data_dir,
        host=options.listen[0],
        port=options.listen[1],
        database=options.database,
        regions=parse_regions(None),
        lease_seconds=options.lease_seconds,
    )
    app.initialise(config)
    workers.serve(config, partial(app.build, config, observe=partial(tell, options.conductor_port)))


if __name__ == "__main__":
    main()
