"""Tags, for every service: what a request may give a resource, and tags as condition keys.

As condition keys: IAM user guide, "Controlling access to AWS resources using tags".

Condition keys are compared without regard to case, and the tag's key is a part of them. Tags whose keys differ in case alone
are one condition key with several values: a Deny holds where any of them matches, an Allow where all do.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from turnlock.core.action import Request
from turnlock.errors import ApiError

Pairs = Iterable[tuple[str, str]]
"""Keys with values, in the order of the request; a key may come more than once."""

Refusal = Callable[[], ApiError]


def _as_it_is(_key: str, _value: str) -> None:
    """Allow any tag that the service's model allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRules:
    """What tags may be in one service, and its errors for what they may not be."""

    key: str = "Key"
    """The member of a tag with its key."""
    value: str = "Value"
    any_case: bool = False
    """Whether keys that differ in case alone are the same key. Then all keys are compared before one is looked at."""
    most: int = 50
    """Tags of one resource."""
    too_many: Refusal
    reserved: tuple[str, ...] = ("aws:",)
    """What keys must not begin with, in lower case: AWS's services write and remove these."""
    is_reserved: Refusal
    duplicate: Refusal | None = None
    """None where the last of several tags with one key counts."""
    check: Callable[[str, str], None] = _as_it_is
    """Raises an ApiError for a key and value that are not allowed for another reason."""

    def pairs(self, request: Request) -> list[tuple[str, str]]:
        """Return the list of tags that a request gives, unchecked, in its order."""
        return [(tag.get(self.key, ""), tag.get(self.value, "")) for tag in request.get("Tags", ())]

    def read(self, request: Request) -> dict[str, str]:
        """Return the list of tags that a request gives. Raises the service's error for what is not allowed."""
        pairs, tags = self.pairs(request), dict[str, str]()
        if self.any_case and self.duplicate and len({key.lower() for key, _ in pairs}) < len(pairs):
            raise self.duplicate()
        for key, value in pairs:
            if self.duplicate and key in tags:
                raise self.duplicate()
            self.refuse_reserved(key)
            self.check(key, value)
            tags[key] = value
        return self.merged({}, tags)

    def refuse_reserved(self, *keys: str) -> None:
        """Raise `is_reserved` for a key that only AWS's services may write or remove."""
        if any(key.lower().startswith(self.reserved) for key in keys):
            raise self.is_reserved()

    def merged(self, before: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
        """Return the tags of a resource after it was given more. Raises `too_many`."""
        tags = {**self.without(before, given), **given} if self.any_case else {**before, **given}
        if len(tags) > self.most:
            raise self.too_many()
        return tags

    def without(self, before: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
        """Return the tags of a resource after some were taken away; a key that is not there is no error."""
        gone: Container[str] = {key.lower() if self.any_case else key for key in keys}
        return {
            key: value for key, value in before.items() if (key.lower() if self.any_case else key) not in gone
        }


def tag_keys(prefix: str, tags: Mapping[str, str] | Pairs) -> dict[str, list[str]]:
    """Return the condition keys of tags, such as `aws:resourcetag/team`; `prefix` is in lower case."""
    keys: dict[str, list[str]] = {}
    for key, value in tags.items() if isinstance(tags, Mapping) else tags:
        keys.setdefault(prefix + key.lower(), []).append(value)
    return keys


def request_tag_keys(
    given: Mapping[str, str] | Pairs, taken: Sequence[str] = (), *prefixes: str
) -> dict[str, Sequence[str]]:
    """Return `aws:requesttag/…` of the tags that a request gives, and `aws:tagkeys` of these and those that it takes away.

    `prefixes` are further names of `aws:requesttag/`, such as `rds:req-tag/`. Without tags there are no keys.
    """
    pairs = list(given.items() if isinstance(given, Mapping) else given)
    found: dict[str, Sequence[str]] = {}
    for prefix in ("aws:requesttag/", *prefixes):
        found |= tag_keys(prefix, pairs)
    if pairs or taken:
        found["aws:tagkeys"] = [*(key for key, _ in pairs), *taken]
    return found


def resource_tag_keys(tags: Mapping[str, str] | Pairs, *prefixes: str) -> dict[str, Sequence[str]]:
    """Return `aws:resourcetag/…` of the tags of a resource. `prefixes` are further names, such as `iam:resourcetag/`."""
    pairs = list(tags.items() if isinstance(tags, Mapping) else tags)
    found: dict[str, Sequence[str]] = {}
    for prefix in ("aws:resourcetag/", *prefixes):
        found |= tag_keys(prefix, pairs)
    return found
