"""AddTagsToResource, RemoveTagsFromResource and ListTagsForResource."""

from __future__ import annotations

from turnlock.core.action import Action, Answer, Request
from turnlock.core.call import Call
from turnlock.rds import store
from turnlock.rds.answers import tag_list
from turnlock.rds.lookup import (
    TAGS,
    require_cluster,
    require_instance,
    tagged_subject,
)
from turnlock.rds.model import DbResource, Kind, read_arn
from turnlock.storage import Unit

_REQUIRE = {Kind.INSTANCE: require_instance, Kind.CLUSTER: require_cluster}


def add_tags_to_resource(call: Call, request: Request, unit: Unit) -> Answer:
    """AddTagsToResource: add tags, or give those that are there another value; 50 at most."""
    resource = _resource(call, request, unit)
    given = TAGS.read(request)
    TAGS.merged(store.tags_of(unit, [resource]).get(resource.identifier, {}), given)  # raises for too many
    store.add_tags(unit, resource, given)
    return {}


def list_tags_for_resource(call: Call, request: Request, unit: Unit) -> Answer:
    """ListTagsForResource: in the order of their keys. Its Filters are not used by RDS either."""
    resource = _resource(call, request, unit)
    return {"TagList": tag_list(store.tags_of(unit, [resource]).get(resource.identifier, {}))}


def remove_tags_from_resource(call: Call, request: Request, unit: Unit) -> Answer:
    """RemoveTagsFromResource: by their keys; one that is not there is no error."""
    TAGS.refuse_reserved(*request["TagKeys"])
    store.remove_tags(unit, _resource(call, request, unit), request["TagKeys"])
    return {}


def _resource(call: Call, request: Request, unit: Unit) -> DbResource:
    kind, identifier = read_arn(request["ResourceName"], call.account_id, call.region)
    return _REQUIRE[kind](call, unit, identifier)


ACTIONS = (
    Action(name="AddTagsToResource", handler=add_tags_to_resource, subject=tagged_subject, mutates=True),
    Action(name="ListTagsForResource", handler=list_tags_for_resource, subject=tagged_subject, mutates=False),
    Action(
        name="RemoveTagsFromResource",
        handler=remove_tags_from_resource,
        subject=tagged_subject,
        mutates=True,
    ),
)
