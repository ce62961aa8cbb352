"""TagResource, UntagResource and ListResourceTags."""

from __future__ import annotations

from turnlock.core.action import Answer, Request
from turnlock.core.call import Call
from turnlock.kms import store
from turnlock.kms.conditions import TAGS
from turnlock.kms.lookup import ADMINISTERED, DEFAULT_LIMIT, PAGES, require_customers, require_lasting
from turnlock.storage import Unit


def tag_resource(call: Call, request: Request, unit: Unit) -> Answer:
    """TagResource: add tags, or give those that are there another value."""
    key = ADMINISTERED.require(call, request, unit)
    require_customers(key)
    require_lasting(key)
    store.update_key(unit, key.evolve(tags=TAGS.merged(key.tags, TAGS.read(request))))
    return {}


def untag_resource(call: Call, request: Request, unit: Unit) -> Answer:
    """UntagResource: remove tags by their keys; a key that is not there is no error."""
    key = ADMINISTERED.require(call, request, unit)
    require_customers(key)
    require_lasting(key)
    store.update_key(unit, key.evolve(tags=TAGS.without(key.tags, request["TagKeys"])))
    return {}


def list_resource_tags(call: Call, request: Request, unit: Unit) -> Answer:
    """ListResourceTags: the key's tags in the order of their keys."""
    tags = ADMINISTERED.require(call, request, unit).tags
    return PAGES.page(
        request,
        tags,
        str,
        "Tags",
        lambda name: {"TagKey": name, "TagValue": tags[name]},
        default=DEFAULT_LIMIT,
    )
