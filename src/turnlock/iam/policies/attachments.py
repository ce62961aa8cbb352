"""Managed policies on users, groups and roles, and permissions boundaries on users and roles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from turnlock.accounts import (
    ATTACHMENTS,
    BOUNDARY_USE,
    POLICY_USE,
    Identity,
    Kind,
    holders,
    holds,
    save_identity,
    section_of_identities,
)
from turnlock.core.action import Action, Answer, Request
from turnlock.core.call import Call
from turnlock.errors import LimitExceededException, NoSuchEntityException
from turnlock.iam.lookup import PAGES, check_policy, identity_subject, named_identity, policy_subject
from turnlock.storage import Unit


def attach_policy(kind: Kind, call: Call, request: Request, unit: Unit) -> Answer:
    """Attach{User,Group,Role}Policy; one that is attached already is no error.

    Raises NoSuchEntityException, LimitExceededException for an eleventh policy.
    """
    one, arn = named_identity(call, request, unit, kind), request["PolicyArn"]
    check_policy(unit, call.account_id, arn)
    if arn in one.attached:
        return {}
    if len(one.attached) >= ATTACHMENTS:
        raise LimitExceededException(f"Cannot exceed quota for PoliciesPer{kind.value}: {ATTACHMENTS}")
    save_identity(unit, one, one.evolve(attached=(*one.attached, arn)))
    return {}


def detach_policy(kind: Kind, call: Call, request: Request, unit: Unit) -> Answer:
    """Detach{User,Group,Role}Policy: from the commit on it speaks for nobody here. Raises NoSuchEntityException."""
    one, gone = named_identity(call, request, unit, kind), request["PolicyArn"]
    if gone not in one.attached:
        raise NoSuchEntityException(f"Policy {gone} was not found.")
    save_identity(unit, one, one.evolve(attached=tuple(arn for arn in one.attached if arn != gone)))
    return {}


def list_attached(kind: Kind, call: Call, request: Request, unit: Unit) -> Answer:
    """ListAttached{User,Group,Role}Policies: those whose path begins with PathPrefix."""
    one, prefix = named_identity(call, request, unit, kind), request.get("PathPrefix", "/")
    found = [arn for arn in one.attached if path_of(arn).startswith(prefix)]
    return PAGES.page(
        request,
        found,
        str,
        "AttachedPolicies",
        lambda arn: {"PolicyName": name_of(arn), "PolicyArn": arn},
    )


def put_boundary(kind: Kind, call: Call, request: Request, unit: Unit) -> Answer:
    """Put{User,Role}PermissionsBoundary. Raises NoSuchEntityException."""
    one, arn = named_identity(call, request, unit, kind), request["PermissionsBoundary"]
    check_policy(unit, call.account_id, arn)
    save_identity(unit, one, one.evolve(boundary=arn))
    return {}


def delete_boundary(kind: Kind, call: Call, request: Request, unit: Unit) -> Answer:
    """Delete{User,Role}PermissionsBoundary. Raises NoSuchEntityException where there is none."""
    one = named_identity(call, request, unit, kind)
    if one.boundary is None:
        raise NoSuchEntityException(f"{kind.value} {one.name} does not have a permission boundary.")
    save_identity(unit, one, one.evolve(boundary=None))
    return {}


def list_entities(call: Call, request: Request, unit: Unit) -> Answer:
    """ListEntitiesForPolicy: who holds a managed policy, as policy, as boundary or both."""
    arn = request["PolicyArn"]
    check_policy(unit, call.account_id, arn)
    wanted = request.get("PolicyUsageFilter")
    uses = {"PermissionsPolicy": [POLICY_USE], "PermissionsBoundary": [BOUNDARY_USE]}.get(
        str(wanted), [POLICY_USE, BOUNDARY_USE]
    )
    prefix, wanted_kind = request.get("PathPrefix", "/"), request.get("EntityFilter")
    held = holders(call.account_id, arn)
    page_of_all = PAGES.page_of_sections(
        request,
        [
            section_of_identities(unit, call.account_id, kind, held)
            for kind in Kind
            if wanted_kind in (None, kind.value)
        ],
        member="all",
        show=lambda _, one: _entity(one),
        keep=lambda one: one.path.startswith(prefix) and any(holds(one, arn, use) for use in uses),
    )
    answer = dict(page_of_all)
    entities = answer.pop("all")
    return {
        **answer,
        **{f"Policy{kind.value}s": [one for one in entities if f"{kind.value}Id" in one] for kind in Kind},
    }


def name_of(arn: str) -> str:
    """Return the name at the end of a policy's ARN."""
    return arn.rpartition("/")[2]


def path_of(arn: str) -> str:
    """Return the path inside a policy's ARN, `/` where it has none."""
    return arn.partition(":policy")[2].removesuffix(name_of(arn))


def _entity(one: Identity) -> dict[str, Any]:
    return {f"{one.kind.value}Name": one.name, f"{one.kind.value}Id": one.id}


Form = tuple[str, Callable[[Kind, Call, Request, Unit], Answer], bool, tuple[Kind, ...]]

_FORMS: Final[tuple[Form, ...]] = (
    ("Attach{}Policy", attach_policy, True, tuple(Kind)),
    ("Detach{}Policy", detach_policy, True, tuple(Kind)),
    ("ListAttached{}Policies", list_attached, False, tuple(Kind)),
    ("Put{}PermissionsBoundary", put_boundary, True, (Kind.USER, Kind.ROLE)),
    ("Delete{}PermissionsBoundary", delete_boundary, True, (Kind.USER, Kind.ROLE)),
)

ACTIONS: Final = (
    *(
        Action(
            name=form.format(kind.value),
            handler=partial(function, kind),
            subject=identity_subject(kind),
            mutates=mutates,
        )
        for form, function, mutates, kinds in _FORMS
        for kind in kinds
    ),
    Action(name="ListEntitiesForPolicy", handler=list_entities, subject=policy_subject, mutates=False),
)
