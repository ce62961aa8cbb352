"""Tags as condition keys."""

from __future__ import annotations

from turnlock.core.tags import request_tag_keys, tag_keys


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
