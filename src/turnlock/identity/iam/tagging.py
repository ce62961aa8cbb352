"""Tags of users, roles and managed policies."""

from __future__ import annotations

from functools import partial
from typing import Final

from turnlock.core.action import Action, Answer, Request
from turnlock.core.call import Call
from turnlock.identity.iam.lookup import (
    identity_subject,
    named_identity,
    policy_subject,
    require_policy,
    tags_in,
)
from turnlock.identity.iam.model import Identity, Kind, ManagedPolicy
from turnlock.identity.iam.pages import page
from turnlock.identity.iam.shown import tag_members
from turnlock.identity.iam.store import POLICIES, save_identity
from turnlock.storage import Unit

Noun = Kind | None
"""What is tagged: a user, a role, or (None) a managed policy."""


def tag(noun: Noun, call: Call, request: Request, unit: Unit) -> Answer:
    """Tag{User,Role,Policy}: add tags, or give those that are there another value."""
    one = _tagged(noun, call, request, unit)
    _save(unit, one, tags_in(request, one.tags))
    return {}


def untag(noun: Noun, call: Call, request: Request, unit: Unit) -> Answer:
    """Untag{User,Role,Policy}: a key that is not there is no error."""
    one, gone = _tagged(noun, call, request, unit), {key.lower() for key in request["TagKeys"]}
    _save(unit, one, {key: value for key, value in one.tags.items() if key.lower() not in gone})
    return {}


def list_tags(noun: Noun, call: Call, request: Request, unit: Unit) -> Answer:
    """List{User,Role,Policy}Tags."""
    tags = tag_members(_tagged(noun, call, request, unit).tags)
    return page(request, tags, lambda one: one["Key"], "Tags", dict)


def _tagged(noun: Noun, call: Call, request: Request, unit: Unit) -> Identity | ManagedPolicy:
    if noun is None:
        return require_policy(unit, call.account_id, request["PolicyArn"])
    return named_identity(call, request, unit, noun)


def _save(unit: Unit, one: Identity | ManagedPolicy, tags: dict[str, str]) -> None:
    if isinstance(one, Identity):
        save_identity(unit, one, one.evolve(tags=tags))
    else:
        POLICIES.replace(unit, one, one.evolve(tags=tags))


def _actions(noun: Noun) -> tuple[Action, ...]:
    name, subject = ("Policy", policy_subject) if noun is None else (noun.value, identity_subject(noun))
    return (
        Action(name=f"Tag{name}", handler=partial(tag, noun), subject=subject, mutates=True),
        Action(name=f"Untag{name}", handler=partial(untag, noun), subject=subject, mutates=True),
        Action(name=f"List{name}Tags", handler=partial(list_tags, noun), subject=subject, mutates=False),
    )


ACTIONS: Final = tuple(action for noun in (Kind.USER, Kind.ROLE, None) for action in _actions(noun))
