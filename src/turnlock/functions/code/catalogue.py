"""From what the store keeps to a program that can be run, and to the credentials of its role."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Final

from turnlock import sts
from turnlock.confinement.orders import Demand
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Fence
from turnlock.core.credentials import TemporaryCredentials
from turnlock.functions.api import store
from turnlock.functions.api.answers import environment_of
from turnlock.functions.api.model import FunctionVersion, OwnFunction
from turnlock.functions.api.names import resolve
from turnlock.functions.code import runtimes
from turnlock.functions.code.cache import CodeCache
from turnlock.functions.model import MIB, FunctionArn, Program
from turnlock.storage import Database, Unit

NICE: Final = 10
"""Functions of one's own give way to the server (nice(2)): a loop in one must not slow it down."""
START_SECONDS: Final = 10.0
TASK_ROOT: Final = Path("/var/task")
"""Where a function sees its package, as on Lambda: much code names that path."""
PYTHON_MARGIN: Final = 512 * MIB
"""Address space that an interpreter maps beyond what it keeps in memory, which is what the function's limit is about."""


class Catalogue:
    """The functions of one's own on one store, unpacked on this machine as they are asked for. `close` removes them."""

    def __init__(self, database: Database, *, allow_unconfined: bool = False) -> None:
        self._database = database
        self._demand: Demand = "offered" if allow_unconfined else "required"
        self._cache = CodeCache()

    def find(self, function_arn: str) -> Program | None:
        """Return the program of an ARN, with a version or an alias or without; None for what is not there.

        Raises SealBroken, NoRuntime where the runtime was removed from the machine since, and the store's errors.
        """
        found = self._database.read(partial(find_version, function_arn=function_arn))
        if found is None:
            return None
        function, version, environment = found
        root = self._cache.place(
            version.code_id, lambda: self._database.read(lambda unit: store.read_code(unit, version))
        )
        is_python = runtimes.is_python(version.runtime)
        return Program(
            name=version.name,
            version=version.version,
            handler=version.handler,
            timeout_seconds=version.timeout,
            memory_bytes=version.memory * MIB,
            address_margin=PYTHON_MARGIN if is_python else None,
            disk_bytes=version.disk * MIB,
            task_root=root,
            seen_at=TASK_ROOT,
            log_group=version.log_group,
            concurrency=function.concurrency,
            command=runtimes.command(version.runtime, TASK_ROOT),
            work_in=TASK_ROOT,
            environment=environment,
            reserved={
                "AWS_EXECUTION_ENV": f"AWS_Lambda_{version.runtime}",
                "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
                "AWS_LAMBDA_LOG_FORMAT": version.logging.get("LogFormat", "Text"),
                **_log_level(version),
                "AWS_LAMBDA_LOG_GROUP_NAME": version.log_group,
                "AWS_LAMBDA_LOG_STREAM_NAME": "{stream}",
            },
            # Lambda gives 10 seconds, and begins again within the function's own time where they are not enough.
            start_seconds=START_SECONDS + version.timeout,
            demand=self._demand,
            nice=NICE,
            freezes=True,
            revision=hashlib.sha256(f"{version.revision_id} {version.code_id}".encode()).hexdigest(),
        )

    def close(self) -> None:
        """Remove what was unpacked."""
        self._cache.close()


def _log_level(version: FunctionVersion) -> dict[str, str]:
    level = version.logging.get("ApplicationLogLevel")
    return {} if level is None else {"AWS_LAMBDA_LOG_LEVEL": level}


def find_version(unit: Unit, function_arn: str) -> tuple[OwnFunction, FunctionVersion, dict[str, str]] | None:
    """Return the function and version that an ARN names, with its environment; None for what is not there. Raises SealBroken."""
    found = find_own(unit, function_arn)
    if found is None:
        return None
    function, qualifier = found
    version = resolve(unit, function, qualifier)
    return None if version is None else (function, version, environment_of(unit, version))


def find_own(unit: Unit, function_arn: str) -> tuple[OwnFunction, str | None] | None:
    """Return the function that an ARN names, and its qualifier; None for what is not there."""
    try:
        arn = FunctionArn.parse(function_arn)
    except ValueError:
        return None
    function = store.find_function(unit, AccountId(arn.account_id), Region(arn.region), arn.name)
    return None if function is None else (function, arn.qualifier)


def role_credentials(
    unit: Unit, function_arn: str, *, seconds: int, fence: Fence | None = None
) -> TemporaryCredentials | None:
    """Return new credentials of a function's role, as its process works with; None for what is not there.

    Raises ValidationException when the role is gone.
    """
    found = find_version(unit, function_arn)
    if found is None:
        return None
    _, version, _ = found
    return sts.issue_role_session(
        unit, role_arn=version.role, session_name=version.name, seconds=seconds, fence=fence
    )
