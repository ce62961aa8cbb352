"""TagResource and UntagResource."""

from __future__ import annotations

from collections.abc import Mapping

from turnlock.core.action import Action, Answer, Request
from turnlock.core.call import Call
from turnlock.secrets.changes import update_secret
from turnlock.secrets.lookup import require_writable, secret_subject
from turnlock.secrets.model import Secret
from turnlock.secrets.parameters import check_tag_count, refuse_reserved, tags_in
from turnlock.secrets.tag_store import save_tags, tags_of
from turnlock.storage import Unit


def tag_resource(call: Call, request: Request, unit: Unit) -> Answer:
    """TagResource: add tags, or give those that are there another value; 50 at most."""
    secret = require_writable(call, request, unit)
    given = tags_in(request)
    before = _tags(unit, secret)
    after = {**before, **given}
    check_tag_count(len(after))
    _change(unit, secret, before, after)
    return {}


def untag_resource(call: Call, request: Request, unit: Unit) -> Answer:
    """UntagResource: remove tags by their keys; a key that is not there is no error."""
    secret = require_writable(call, request, unit)
    for key in request["TagKeys"]:
        refuse_reserved(key)
    before = _tags(unit, secret)
    gone = frozenset(request["TagKeys"])
    _change(unit, secret, before, {key: value for key, value in before.items() if key not in gone})
    return {}


ACTIONS = (
    Action(name="TagResource", handler=tag_resource, subject=secret_subject, mutates=True),
    Action(name="UntagResource", handler=untag_resource, subject=secret_subject, mutates=True),
)


def _tags(unit: Unit, secret: Secret) -> dict[str, str]:
    return tags_of(unit, secret.account_id, secret.region, [secret.name]).get(secret.name, {})


def _change(unit: Unit, secret: Secret, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Write the tags as they now are; where nothing differs, the secret was not changed."""
    if after != before:
        save_tags(unit, secret, after)
        update_secret(unit, secret.evolve(last_changed_at=unit.now))
