"""Tags of users, roles, managed policies, MFA devices and instance profiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from turnlock.accounts import POLICIES, Kind, save_identity
from turnlock.core.action import Action, Answer, Request
from turnlock.core.call import Call
from turnlock.iam.instance_profiles import PROFILES, profile_subject, require_profile
from turnlock.iam.lookup import (
    PAGES,
    RULES,
    Subjects,
    identity_subject,
    named_identity,
    policy_subject,
    require_policy,
    tags_in,
)
from turnlock.iam.mfa.api import device_subject, require_device
from turnlock.iam.mfa.store import DEVICES
from turnlock.iam.shown import tag_members
from turnlock.storage import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """What can have tags: a value with a mapping `tags` and a method `evolve`."""

    name: str
    """As in the operations' names."""
    require: Callable[[Call, Request, Unit], Any]
    """Returns what a request names, or raises NoSuchEntityException."""
    save: Callable[[Unit, Any, Any], None]
    """Writes the second over the first."""
    subject: Subjects


_NOUNS: Final = (
    *(
        Noun(
            name=kind.value,
            require=partial(named_identity, kind=kind),
            save=save_identity,
            subject=identity_subject(kind),
        )
        for kind in (Kind.USER, Kind.ROLE)
    ),
    Noun(
        name="Policy",
        require=lambda call, request, unit: require_policy(unit, call.account_id, request["PolicyArn"]),
        save=POLICIES.replace,
        subject=policy_subject,
    ),
    Noun(name="MFADevice", require=require_device, save=DEVICES.replace, subject=device_subject),
    Noun(name="InstanceProfile", require=require_profile, save=PROFILES.replace, subject=profile_subject),
)


def tag(noun: Noun, call: Call, request: Request, unit: Unit) -> Answer:
    """Tag{User,…}: add tags, or give those that are there another value."""
    one = noun.require(call, request, unit)
    noun.save(unit, one, one.evolve(tags=tags_in(request, one.tags)))
    return {}


def untag(noun: Noun, call: Call, request: Request, unit: Unit) -> Answer:
    """Untag{User,…}: a key that is not there is no error."""
    one = noun.require(call, request, unit)
    noun.save(unit, one, one.evolve(tags=RULES.without(one.tags, request["TagKeys"])))
    return {}


def list_tags(noun: Noun, call: Call, request: Request, unit: Unit) -> Answer:
    """List{User,…}Tags."""
    tags = tag_members(noun.require(call, request, unit).tags)
    return PAGES.page(request, tags, lambda one: one["Key"], "Tags", dict)


def _actions(noun: Noun) -> tuple[Action, ...]:
    name, subject = noun.name, noun.subject
    return (
        Action(name=f"Tag{name}", handler=partial(tag, noun), subject=subject, mutates=True),
        Action(name=f"Untag{name}", handler=partial(untag, noun), subject=subject, mutates=True),
        Action(name=f"List{name}Tags", handler=partial(list_tags, noun), subject=subject, mutates=False),
    )


ACTIONS: Final = tuple(action for noun in _NOUNS for action in _actions(noun))
