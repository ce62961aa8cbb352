"""Inline policies of users, groups and roles: one set of functions for the three."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from turnlock.accounts import INLINE_CHARACTERS, Identity, Kind, counted, save_identity
from turnlock.core.action import Action, Answer, Request
from turnlock.core.call import Call
from turnlock.errors import LimitExceededException, NoSuchEntityException
from turnlock.iam.lookup import PAGES, identity_subject, named_identity
from turnlock.iam.policies.documents import check_identity_policy, shown
from turnlock.storage import Unit


def put_policy(kind: Kind, call: Call, request: Request, unit: Unit) -> Answer:
    """Put{User,Group,Role}Policy: a new inline policy, or another document for the one of this name.

    Raises MalformedPolicyDocumentException; LimitExceededException when the identity's inline policies grow too long.
    """
    one = named_identity(call, request, unit, kind)
    document = request["PolicyDocument"]
    check_identity_policy(document)
    inline = {**one.inline, request["PolicyName"]: document}
    most = INLINE_CHARACTERS[kind]
    if sum(map(counted, inline.values())) > most:
        raise LimitExceededException(
            f"Maximum policy size of {most} bytes exceeded for {kind.noun} {one.name}"
        )
    save_identity(unit, one, one.evolve(inline=inline))
    return {}


def get_policy(kind: Kind, call: Call, request: Request, unit: Unit) -> Answer:
    """Get{User,Group,Role}Policy."""
    one, name = named_identity(call, request, unit, kind), request["PolicyName"]
    return {
        f"{kind.value}Name": one.name,
        "PolicyName": name,
        "PolicyDocument": shown(_document(one, name)),
    }


def delete_policy(kind: Kind, call: Call, request: Request, unit: Unit) -> Answer:
    """Delete{User,Group,Role}Policy. Raises NoSuchEntityException."""
    one, gone = named_identity(call, request, unit, kind), request["PolicyName"]
    _document(one, gone)
    kept = {name: document for name, document in one.inline.items() if name != gone}
    save_identity(unit, one, one.evolve(inline=kept))
    return {}


def list_policies(kind: Kind, call: Call, request: Request, unit: Unit) -> Answer:
    """List{User,Group,Role}Policies: the names."""
    one = named_identity(call, request, unit, kind)
    return PAGES.page(request, one.inline, str, "PolicyNames", str)


def _document(one: Identity, name: str) -> str:
    try:
        return one.inline[name]
    except KeyError:
        raise NoSuchEntityException(f"The {one.kind.noun} policy with name {name} cannot be found.") from None


_FORMS: Final[tuple[tuple[str, Callable[[Kind, Call, Request, Unit], Answer], bool], ...]] = (
    ("Put{}Policy", put_policy, True),
    ("Get{}Policy", get_policy, False),
    ("Delete{}Policy", delete_policy, True),
    ("List{}Policies", list_policies, False),
)

ACTIONS: Final = tuple(
    Action(
        name=form.format(kind.value),
        handler=partial(function, kind),
        subject=identity_subject(kind),
        mutates=mutates,
    )
    for form, function, mutates in _FORMS
    for kind in Kind
)
