"""Compiled shapes: AWS's words for what is wrong, nothing sensitive told, recursion, redaction."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import pytest
from botocore.model import ServiceModel, Shape
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sampling import examples
from turnlock.errors import AnswerMismatch, SerializationException, ValidationException
from turnlock.wire import Contract
from turnlock.wire.constraints import refuse
from turnlock.wire.shapes import ShapeCompiler, camel_case

SHAPES: dict[str, dict[str, Any]] = {
    "Node": {
        "type": "structure",
        "required": ["Name"],
        "members": {
            "Name": {"shape": "Name"},
            "Secret": {"shape": "Secret"},
            "Secrets": {"shape": "Secrets"},
            "SecretMap": {"shape": "SecretMap"},
            "Bytes": {"shape": "Bytes"},
            "Count": {"shape": "Count"},
            "Kind": {"shape": "Kind"},
            "At": {"shape": "At"},
            "AtText": {"shape": "At", "timestampFormat": "iso8601"},
            "ARN": {"shape": "Free"},
            "RotationLambdaARN": {"shape": "Free"},
            "Labels": {"shape": "Labels"},
            "Limits": {"shape": "Limits"},
            "Children": {"shape": "Nodes"},
            "ByName": {"shape": "NodeMap"},
            "Vault": {"shape": "Vault"},
            "Vaults": {"shape": "Vaults"},
            "VaultLabels": {"shape": "VaultLabels"},
            "VaultLimits": {"shape": "VaultLimits"},
            "Renamed": {"shape": "Free", "locationName": "on-the-wire"},
        },
    },
    "Vault": {
        "type": "structure",
        "sensitive": True,
        "members": {"Inside": {"shape": "Free"}, "Node": {"shape": "Node"}},
    },
    "Vaults": {"type": "list", "sensitive": True, "member": {"shape": "Node"}},
    "VaultLabels": {"type": "list", "sensitive": True, "member": {"shape": "Name"}, "max": 1},
    "VaultLimits": {"type": "map", "sensitive": True, "key": {"shape": "Name"}, "value": {"shape": "Count"}},
    "Name": {"type": "string", "min": 2, "max": 4, "pattern": "^[a-z]+$"},
    "Free": {"type": "string"},
    "Secret": {"type": "string", "min": 3, "sensitive": True},
    "Secrets": {"type": "list", "member": {"shape": "Secret"}, "max": 1},
    "SecretMap": {"type": "map", "key": {"shape": "Secret"}, "value": {"shape": "Count"}},
    "Bytes": {"type": "blob", "max": 2},
    "Count": {"type": "integer", "min": 1, "max": 9},
    "Kind": {"type": "string", "enum": ["a", "b"]},
    "At": {"type": "timestamp"},
    "Labels": {"type": "list", "member": {"shape": "Name"}, "min": 1, "max": 2},
    "Limits": {"type": "map", "key": {"shape": "Name"}, "value": {"shape": "Count"}, "max": 2},
    "Nodes": {"type": "list", "member": {"shape": "Node"}},
    "NodeMap": {"type": "map", "key": {"shape": "Free"}, "value": {"shape": "Node"}},
}
MODEL = ServiceModel({"metadata": {}, "operations": {}, "shapes": SHAPES}, "made-up")
NODE = ShapeCompiler().codec(MODEL.shape_for("Node"))


def violations(document: dict[str, Any]) -> list[str]:
    broken: list[str] = []
    NODE.parse(document, "", broken)
    return broken


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "Value null at 'name' failed to satisfy constraint: Member must not be null"),
        (
            {"Name": None},
            "Value null at 'name' failed to satisfy constraint: Member must not be null",
        ),
        (
            {"Name": "a"},
            "Value 'a' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 2",
        ),
        (
            {"Name": "abcde"},
            "Value 'abcde' at 'name' failed to satisfy constraint: Member must have length less than or equal to 4",
        ),
        (
            {"Name": "AB"},
            (
                "Value 'AB' at 'name' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: ^[a-z]+$"
            ),
        ),
        (
            {"Name": "ab", "Kind": "c"},
            "Value 'c' at 'kind' failed to satisfy constraint: Member must satisfy enum value set: [a, b]",
        ),
        (
            {"Name": "ab", "Count": 0},
            (
                "Value '0' at 'count' failed to satisfy constraint: "
                "Member must have value greater than or equal to 1"
            ),
        ),
        (
            {"Name": "ab", "Count": 10},
            "Value '10' at 'count' failed to satisfy constraint: Member must have value less than or equal to 9",
        ),
        (
            {"Name": "ab", "Labels": []},
            (
                "Value '[]' at 'labels' failed to satisfy constraint: "
                "Member must have length greater than or equal to 1"
            ),
        ),
        (
            {"Name": "ab", "Labels": ["ab", "AB"]},
            (
                "Value '[ab, AB]' at 'labels' failed to satisfy constraint: Member must satisfy constraint: "
                "[Member must have length greater than or equal to 2, Member must have length less than or equal to 4, "
                "Member must satisfy regular expression pattern: ^[a-z]+$]"
            ),
        ),
        (
            {"Name": "ab", "Labels": [None]},
            "Value at 'labels' failed to satisfy constraint: Member must not be null",
        ),
        (
            {"Name": "ab", "Limits": {"ab": 10}},
            (
                "Value '{ab=10}' at 'limits' failed to satisfy constraint: Map value must satisfy constraint: "
                "[Member must have value greater than or equal to 1, Member must have value less than or equal to 9]"
            ),
        ),
        (
            {"Name": "ab", "Limits": {"a": 1}},
            (
                "Value '[a]' at 'limits' failed to satisfy constraint: Map keys must satisfy constraint: "
                "[Member must have length greater than or equal to 2, Member must have length less than or equal to 4, "
                "Member must satisfy regular expression pattern: ^[a-z]+$]"
            ),
        ),
        (
            {"Name": "ab", "Children": [{"Name": "ab"}, {"Name": "a"}]},
            (
                "Value 'a' at 'children.2.member.name' failed to satisfy constraint: "
                "Member must have length greater than or equal to 2"
            ),
        ),
        (
            {"Name": "ab", "ByName": {"x": {}}},
            "Value null at 'byName.x.member.name' failed to satisfy constraint: Member must not be null",
        ),
        (
            {"Name": "ab", "Bytes": "YWJj"},
            "Value at 'bytes' failed to satisfy constraint: Member must have length less than or equal to 2",
        ),
    ],
)
def test_a_broken_demand_is_told_in_the_words_of_aws(document: dict[str, Any], sentence: str) -> None:
    assert violations(document) == [sentence]


@pytest.mark.parametrize(
    "document",
    [
        {"Secret": "q!"},
        {"Secrets": ["q!"]},
        {"Secrets": ["q!q!", "q!q!"]},
        {"SecretMap": {"q!": 1}},
        {"Vault": {"Node": {"Name": "q!"}}},
        {"Vaults": [{"Name": "q!"}]},
        {"VaultLabels": ["q!"]},
        {"VaultLimits": {"q!": 1}},
    ],
)
def test_a_sensitive_value_is_never_told(document: dict[str, Any]) -> None:
    (sentence,) = violations({"Name": "ab", **document})
    assert sentence.startswith("Value at '")
    assert "q!" not in sentence


def test_all_violations_come_in_one_error_that_counts_them() -> None:
    with pytest.raises(Exception, match=r"^1 validation error detected: one$"):
        refuse(["one"])
    with pytest.raises(Exception, match=r"^2 validation errors detected: one; two$"):
        refuse(["one", "two"])
    refuse([])


@pytest.mark.parametrize(("length", "told"), [(8, 2), (256, 2), (257, 1), (100_000, 1)])
def test_a_value_too_long_and_of_the_wrong_form_breaks_two_constraints(length: int, told: int) -> None:
    contract = Contract.load("sts").operations["AssumeRole"]
    code = "x" * length
    with pytest.raises(ValidationException) as caught:
        contract.parse({"RoleArn": "a" * 20, "RoleSessionName": "session", "TokenCode": code})
    message = caught.value.message
    assert message.startswith(f"{told} validation error")
    assert "length less than or equal to 6" in message
    assert ("regular expression pattern" in message) == (told == 2)


def test_a_wrong_type_comes_before_every_violation() -> None:
    with pytest.raises(
        SerializationException, match=r"^NUMBER_VALUE can not be converted to a String at 'secret'$"
    ):
        NODE.parse({"Name": "A", "Secret": 12345}, "", [])


@pytest.mark.parametrize(
    "document",
    [{"Labels": "x"}, {"Labels": {}}, {"Limits": []}, {"Children": [[]]}, {"Vault": 1}, [], "x", None, 1],
)
def test_containers_of_the_wrong_type_are_refused(document: object) -> None:
    with pytest.raises(SerializationException):
        NODE.parse(document, "", [])


def test_unknown_members_and_nulls_are_left_out_and_wire_names_translated() -> None:
    document = {"Name": "ab", "Unknown": {"x": 1}, "Count": None, "on-the-wire": "r", "Limits": {"ab": None}}
    assert NODE.parse(document, "", []) == {"Name": "ab", "Renamed": "r", "Limits": {}}


def test_a_member_keeps_the_timestamp_format_that_its_structure_gives_it() -> None:
    moment = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    document = {"Name": "ab", "At": 1577934245, "AtText": "2020-01-02T03:04:05Z"}
    assert NODE.parse(document, "", []) == {"Name": "ab", "At": moment, "AtText": moment}


NODES = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "Name": st.sampled_from(["a", "ab", "abcd", "abcde", "AB", "ab\n", ""]),
            "Secret": st.text(max_size=5),
            "Count": st.integers(-1, 11),
            "Kind": st.sampled_from(["a", "b", "c"]),
            "Labels": st.lists(st.sampled_from(["ab", "A", "abcde"]), max_size=3),
            "Limits": st.dictionaries(st.sampled_from(["ab", "A", "cd"]), st.integers(0, 10), max_size=3),
        },
    ),
    lambda nodes: st.fixed_dictionaries(
        {"Name": st.just("ab")},
        optional={
            "Children": st.lists(nodes, max_size=3),
            "ByName": st.dictionaries(st.text("xy", min_size=1, max_size=2), nodes, max_size=2),
        },
    ),
    max_leaves=6,
)


def naive_violations(shape: Shape, value: Any, place: str) -> list[str]:
    """Return the place of each violation, found by walking the raw description; once for each broken demand."""
    raw, found = SHAPES[shape.name], list[str]()
    if raw["type"] == "structure":
        dotted = f"{place}." if place else ""
        for name, reference in raw["members"].items():
            here = dotted + name[0].lower() + name[1:]
            if name in value:
                found += naive_violations(MODEL.shape_for(reference["shape"]), value[name], here)
            elif name in raw.get("required", ()):
                found.append(here)
        return found
    if raw["type"] == "list":
        found += naive_elements(raw["member"]["shape"], dict(enumerate(value, 1)), place)
    if raw["type"] == "map":
        found += naive_elements(raw["key"]["shape"], dict(enumerate(value)), place)
        found += naive_elements(raw["value"]["shape"], value, place)
    size = value if isinstance(value, int) else len(value)
    wrong = (
        size < raw.get("min", -99),
        size > raw.get("max", 10**9),
        size <= raw.get("max", 10**9) and "pattern" in raw and not re.fullmatch(r"[a-z]+", value),
        "enum" in raw and value not in raw["enum"],
    )
    return found + [place] * sum(wrong)


def naive_elements(shape_name: str, elements: dict[Any, Any], place: str) -> list[str]:
    shape = MODEL.shape_for(shape_name)
    each = [naive_violations(shape, value, f"{place}.{at}.member") for at, value in elements.items()]
    if shape.type_name == "structure":
        return list(chain(*each))
    return [place] if any(each) else []


@settings(max_examples=examples(200), deadline=None)
@given(NODES)
def test_a_naive_walk_of_the_model_finds_the_same_violations(document: dict[str, Any]) -> None:
    found = [
        match[1]
        for sentence in violations(document)
        if (match := re.search(r" at '([^']*)' failed", sentence))
    ]
    assert sorted(found) == sorted(naive_violations(MODEL.shape_for("Node"), document, ""))


@settings(max_examples=examples(100), deadline=None)
@given(NODES)
def test_parsing_and_serialising_are_each_others_inverse(document: dict[str, Any]) -> None:
    assert NODE.serialise(NODE.parse(document, "", []), "") == document


def test_none_members_of_an_answer_are_left_out_and_tuples_are_lists() -> None:
    answer = {"Name": "ab", "Secret": None, "Labels": ("ab",), "Limits": {"ab": None}, "Renamed": "r"}
    assert NODE.serialise(answer, "") == {"Name": "ab", "Labels": ["ab"], "Limits": {}, "on-the-wire": "r"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"Nmae": "hush"}, "Node has no member 'Nmae'"),
        ({"Children": [{"Nmae": "hush"}]}, "Node has no member 'Nmae'"),
        ({"Secret": ["hush"]}, "'Secret' is not a str"),
        ({"Children": [{"Secret": b"hush"}]}, "'Children.1.Secret' is not a str"),
        ({"Labels": "hush"}, "'Labels' is not a list"),
        ({"Limits": ["hush"]}, "'Limits' is not a mapping"),
        ({"Vault": "hush"}, "'Vault' is not a mapping for Vault"),
    ],
)
def test_an_answer_that_does_not_fit_is_a_mismatch_that_tells_no_value(
    answer: dict[str, Any], words: str
) -> None:
    with pytest.raises(AnswerMismatch, match=re.escape(words)) as refused:
        NODE.serialise(answer, "")
    assert "hush" not in refused.value.message


def test_a_record_holds_camel_case_names_and_nothing_sensitive_at_any_depth() -> None:
    node = {
        "Name": "ab",
        "ARN": "arn:x",
        "RotationLambdaARN": "arn:y",
        "Secret": "hush",
        "Secrets": ["hush"],
        "SecretMap": {"hush": 1},
        "Bytes": b"hush",
        "Vault": {"Inside": "hush"},
        "Vaults": [{"Name": "hush"}],
        "VaultLabels": ["hush"],
        "VaultLimits": {"hush": 1},
        "At": datetime(2018, 5, 3, 17, 51, 2, tzinfo=UTC),
        "Count": None,
        "Unknown": "hush",
        "Renamed": "r",
        "Limits": {"ab": 1},
    }
    shown = {
        "name": "ab",
        "arn": "arn:x",
        "rotationLambdaARN": "arn:y",
        "at": "May 3, 2018 5:51:02 PM",
        "renamed": "r",
        "limits": {"ab": 1},
    }
    record = NODE.redact({**node, "Children": [node], "ByName": {"K": node}})
    assert record == {**shown, "children": [shown], "byName": {"K": shown}}
    assert "hush" not in repr(record)


def test_member_names_are_written_as_aws_writes_them() -> None:
    names = {"SecretId": "secretId", "ARN": "arn", "KmsKeyId": "kmsKeyId", "name": "name", "": ""}
    assert {name: camel_case(name) for name in names} == names
