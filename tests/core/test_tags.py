"""Tags as condition keys."""

from __future__ import annotations

import pytest

from turnlock.core.tags import TagRules, request_tag_keys, tag_keys
from turnlock.errors import LimitExceededException, TagException


def test_tags_whose_keys_differ_in_case_are_one_condition_key_with_all_their_values() -> None:
    assert tag_keys("aws:resourcetag/", {"Env": "prod", "env": "x", "Team": "a"}) == {
        "aws:resourcetag/env": ["prod", "x"],
        "aws:resourcetag/team": ["a"],
    }


def test_a_tag_that_a_request_gives_twice_has_both_values() -> None:
    found = request_tag_keys([("Env", "prod"), ("Env", "x"), ("ENV", "y")], ["Old"], "rds:req-tag/")
    assert found == {
        "aws:requesttag/env": ["prod", "x", "y"],
        "rds:req-tag/env": ["prod", "x", "y"],
        "aws:tagkeys": ["Env", "Env", "ENV", "Old"],
    }


def test_a_request_without_tags_has_none_of_the_keys() -> None:
    assert request_tag_keys({}) == request_tag_keys([], ()) == {}


def test_the_tags_of_a_resource_are_bounded_and_named_as_the_service_says() -> None:
    rules = TagRules(
        any_case=True,
        most=2,
        too_many=lambda: LimitExceededException("many"),
        is_reserved=lambda: TagException("reserved"),
        duplicate=lambda: TagException("twice"),
    )
    assert rules.merged({"Env": "a", "b": ""}, {"env": "c"}) == {"b": "", "env": "c"}
    assert rules.without({"Env": "a", "b": ""}, ["ENV", "x"]) == {"b": ""}
    assert rules.read({"Tags": [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": ""}]}) == {
        "a": "b",
        "c": "",
    }
    for keys, refusal in (("Aa", "twice"), (("AWS:x",), "reserved"), (("AWS:x", "b", "B"), "twice")):
        with pytest.raises(TagException, match=refusal):
            rules.read({"Tags": [{"Key": key, "Value": ""} for key in keys]})
    with pytest.raises(LimitExceededException, match="many"):
        rules.merged({"a": "", "b": ""}, {"c": ""})
