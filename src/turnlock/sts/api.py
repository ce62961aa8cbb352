"""STS's actions."""

from __future__ import annotations

from typing import Final

from turnlock.core.action import Action, Answer, Request, no_resource
from turnlock.core.call import Call
from turnlock.iam import judge_token_code
from turnlock.sts.assuming import assume_role, role_subject
from turnlock.sts.session_tokens import get_access_key_info, get_session_token
from turnlock.sts.web_identity import assume_role_with_web_identity, web_role_subject


def get_caller_identity(call: Call, _request: Request, _unit: object) -> Answer:
    """Return whose credentials signed the call (STS API reference, GetCallerIdentity): UserId, Account, Arn.

    For the root user the UserId is the account's id; for a role's session it is `AROA…:session-name`.
    """
    principal = call.principal
    return {"UserId": principal.principal_id, "Account": principal.account_id, "Arn": principal.arn}


STS_ACTIONS: Final = (
    Action(
        name="AssumeRole",
        handler=assume_role,
        subject=role_subject,
        mutates=True,
        judge=judge_token_code,
    ),
    Action(
        name="AssumeRoleWithWebIdentity",
        handler=assume_role_with_web_identity,
        subject=web_role_subject,
        mutates=True,
    ),
    Action(name="GetAccessKeyInfo", handler=get_access_key_info, subject=no_resource, mutates=False),
    Action(name="GetCallerIdentity", handler=get_caller_identity, subject=no_resource, mutates=False),
    Action(
        name="GetSessionToken",
        handler=get_session_token,
        subject=no_resource,
        mutates=True,
        judge=judge_token_code,
    ),
)
