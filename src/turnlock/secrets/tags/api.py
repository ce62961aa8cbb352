"""TagResource and UntagResource."""

from __future__ import annotations

from collections.abc import Mapping

from turnlock.core.action import Action, Answer, Request
from turnlock.core.call import Call
from turnlock.secrets.lookup import require_writable, secret_subject
from turnlock.secrets.model import Secret
from turnlock.secrets.parameters import TAGS
from turnlock.secrets.tags.store import find_tags, save_tags
from turnlock.secrets.values.changes import update_secret
from turnlock.storage import Unit


def tag_resource(call: Call, request: Request, unit: Unit) -> Answer:
    """TagResource: add tags, or give those that are there another value; 50 at most."""
    secret = require_writable(call, request, unit)
    given = TAGS.read(request)
    _change(call, request, unit, secret, TAGS.merged(find_tags(unit, secret), given))
    return {}


def untag_resource(call: Call, request: Request, unit: Unit) -> Answer:
    """UntagResource: remove tags by their keys; a key that is not there is no error."""
    secret = require_writable(call, request, unit)
    TAGS.refuse_reserved(*request["TagKeys"])
    _change(call, request, unit, secret, TAGS.without(find_tags(unit, secret), request["TagKeys"]))
    return {}


ACTIONS = (
    Action(name="TagResource", handler=tag_resource, subject=secret_subject, mutates=True),
    Action(name="UntagResource", handler=untag_resource, subject=secret_subject, mutates=True),
)


def _change(call: Call, request: Request, unit: Unit, secret: Secret, after: Mapping[str, str]) -> None:
    """Write the tags; where nothing differs, the secret has not changed.

    Raises AccessDeniedException when the caller could no longer make this call: a caller who is allowed by a tag cannot
    lock itself out (API reference, TagResource and UntagResource).
    """
    if after != find_tags(unit, secret):
        save_tags(unit, secret, after)
        update_secret(unit, secret.evolve(last_changed_at=unit.now))
        call.gate.require(call.action, request)
