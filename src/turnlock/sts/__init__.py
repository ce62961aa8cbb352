"""STS: temporary credentials.

What it does: answers AssumeRole, AssumeRoleWithWebIdentity, GetSessionToken, GetCallerIdentity and their like, and issues the sessions of
roles to the server itself. What it trusts: the decision over the role's trust policy. What it must never do: issue a session that
outlives what its role or its caller allows.
"""

from turnlock.sts.api import STS_ACTIONS
from turnlock.sts.assuming import issue_role_session
from turnlock.sts.web_identity import web_caller

__all__ = ["STS_ACTIONS", "issue_role_session", "web_caller"]
