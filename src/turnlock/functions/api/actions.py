"""Lambda's actions, together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NoReturn

from turnlock.core.action import Action, Request
from turnlock.core.call import Call
from turnlock.errors import InvalidParameterValueException
from turnlock.functions.api import creating, permissions, reading, versions
from turnlock.functions.api.invoking import Invoking
from turnlock.functions.api.names import function_subject
from turnlock.storage import Unit

ACTIONS = (*creating.ACTIONS, *reading.ACTIONS, *versions.ACTIONS, *permissions.ACTIONS)
"""All that need no processes."""


def _no_processes(_call: Call, _request: Request, _unit: Unit) -> NoReturn:
    raise InvalidParameterValueException("Only a running server invokes functions.")


ACTIONS_AT_REST = (
    *ACTIONS,
    Action(
        name="Invoke",
        handler=_no_processes,
        subject=function_subject,
        mutates=True,
        permission="InvokeFunction",
    ),
)
"""Every action, for commands that ask what would be allowed and run nothing."""


def actions(invoking: Invoking, *, missing: str | None) -> tuple[Action, ...]:
    """Return every action; where functions may not run, none can be made."""
    kept = tuple(
        _refusing(one, missing) if one.name == "CreateFunction" and missing is not None else one
        for one in ACTIONS
    )
    return (*kept, *invoking.actions())


def _refusing(action: Action, missing: str) -> Action:
    return replace(action, handler=partial(_refuse, missing), prepare=None)


def _refuse(missing: str, _call: Call, _request: Request, _unit: Unit) -> NoReturn:
    raise InvalidParameterValueException(
        f"This machine does not offer what confines a function. {missing} Its operator can say --allow-unconfined-functions."
    )
