"""TagResource, UntagResource and ListResourceTags."""

from __future__ import annotations

from typing import Final

from turnlock.core.action import Answer, Request
from turnlock.core.call import Call
from turnlock.errors import LimitExceededException, TagException
from turnlock.kms import store
from turnlock.kms.lookup import ADMINISTERED, DEFAULT_LIMIT, PAGES, require_customers, require_lasting
from turnlock.storage import Unit

MOST_TAGS: Final = 50
"""Tags of a key (KMS developer guide, "Tags in AWS KMS")."""


def tag_resource(call: Call, request: Request, unit: Unit) -> Answer:
    """TagResource: add tags, or give those that are there another value."""
    key = ADMINISTERED.require(call, request, unit)
    require_customers(key)
    require_lasting(key)
    tags = {**key.tags, **tags_in(request)}
    _check_count(len(tags))
    store.update_key(unit, key.evolve(tags=tags))
    return {}


def untag_resource(call: Call, request: Request, unit: Unit) -> Answer:
    """UntagResource: remove tags by their keys; a key that is not there is no error."""
    key = ADMINISTERED.require(call, request, unit)
    require_customers(key)
    require_lasting(key)
    gone = frozenset(request["TagKeys"])
    kept = {name: value for name, value in key.tags.items() if name not in gone}
    store.update_key(unit, key.evolve(tags=kept))
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


def tags_in(request: Request) -> dict[str, str]:
    """Return the tags of a request. Raises TagException for what no key can have, LimitExceededException beyond MOST_TAGS."""
    tags: dict[str, str] = {}
    for tag in request.get("Tags", ()):
        name, value = tag["TagKey"], tag["TagValue"]
        if name in tags:
            raise TagException("Duplicate tag keys are not allowed.")
        if name.lower().startswith("aws:"):
            raise TagException("Tag keys that start with aws: are reserved.")
        if "\0" in name + value:
            raise TagException("A tag must not contain the null character.")
        tags[name] = value
    _check_count(len(tags))
    return tags


def _check_count(count: int) -> None:
    if count > MOST_TAGS:
        raise LimitExceededException(f"A key can have at most {MOST_TAGS} tags.")
