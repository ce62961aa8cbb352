"""The policy language: reading, evaluating and explaining policies, and finding what is public. Pure.

What it does: reads policy documents, decides a call in AWS's order of evaluation, says why, and tells whether a
resource policy is public. What it trusts: that the MACs of the texts were checked. What it must never do: read the
store or the clock, allow what it does not understand, or do more work for one decision than its budget.
"""

from turnlock.policies.asked import Asked
from turnlock.policies.attached import (
    Allowed,
    Attached,
    Cited,
    Group,
    Policies,
    PolicyKind,
    allowance,
    denial,
)
from turnlock.policies.callers import NOBODY, caller_of
from turnlock.policies.context import Context, Holdings, NamedPolicy, account_of
from turnlock.policies.document import (
    Condition,
    Document,
    Effect,
    NamedPrincipal,
    PrincipalType,
    Quantifier,
    Statement,
)
from turnlock.policies.evaluation import (
    ALWAYS_ALLOWED,
    TOO_MUCH_WORK,
    Decision,
    Denied,
    Standing,
    admits,
    decide,
    weigh,
)
from turnlock.policies.explaining import Explanation, Miss, explain
from turnlock.policies.exposure import has_invalid_service, has_unsupported_principal, is_public, locks_out
from turnlock.policies.reader import (
    Form,
    read_identity_policy,
    read_policy,
    read_resource_policy,
    read_trust_policy,
    reading,
)
from turnlock.policies.wildcards import matches

__all__ = [
    "ALWAYS_ALLOWED",
    "NOBODY",
    "TOO_MUCH_WORK",
    "Allowed",
    "Asked",
    "Attached",
    "Cited",
    "Condition",
    "Context",
    "Decision",
    "Denied",
    "Document",
    "Effect",
    "Explanation",
    "Form",
    "Group",
    "Holdings",
    "Miss",
    "NamedPolicy",
    "NamedPrincipal",
    "Policies",
    "PolicyKind",
    "PrincipalType",
    "Quantifier",
    "Standing",
    "Statement",
    "account_of",
    "admits",
    "allowance",
    "caller_of",
    "decide",
    "denial",
    "explain",
    "has_invalid_service",
    "has_unsupported_principal",
    "is_public",
    "locks_out",
    "matches",
    "read_identity_policy",
    "read_policy",
    "read_resource_policy",
    "read_trust_policy",
    "reading",
    "weigh",
]
