"""What the server orders the launcher to do."""

from __future__ import annotations

from typing import Literal, TypedDict

Demand = Literal["required", "offered", "none"]
"""`required`: nothing runs where the kernel lacks a part. `offered`: with what the kernel has. `none`: as the server's user."""


class Confinement(TypedDict):
    """The walls around one process."""

    demand: Demand
    readable: list[str]
    """Files and directories beside the system's and the interpreter's: the function's code, certificates."""
    home: str
    """Its working directory, made by the server; all that it can write to."""
    home_bytes: int
    processes: int
    """Processes and threads at once."""
    address_bytes: int | None
    """Address space of each process; None where the language's runtime reserves more than it uses."""
    file_bytes: int
    cpu_seconds: int
    """Of each process, over its whole life."""
    open_files: int
    nice: int


class Orders(TypedDict):
    """What the owner wants."""

    owner_pid: int
    """The process that this one must not outlive."""
    command: list[str]
    """The program that takes events; empty for a Python handler, which the launcher itself becomes."""
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
    work_in: str
    """The working directory."""
    confinement: Confinement
