"""Flat parameters are read in one way only, or refused."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus

import pytest
from botocore.model import Shape
from hypothesis import given
from hypothesis import strategies as st

from turnlock.errors import ApiError, SerializationException
from turnlock.wire import Contract
from turnlock.wire.flat_parameters import (
    MAX_NAMES,
    MAX_PARAMETERS,
    as_tree,
    document_of,
    read_pairs,
    read_parameters,
)

NAMES = st.lists(st.text("ab1", min_size=1, max_size=2), min_size=1, max_size=4).map(".".join)


def shape_of(service: str, operation: str) -> Shape:
    shape = Contract.load(service).operations[operation].model.input_shape
    assert shape is not None
    return shape


def read(service: str, operation: str, encoded: str) -> Any:
    return document_of(shape_of(service, operation), as_tree(read_parameters(encoded)))


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=5))
def test_every_text_that_is_percent_encoded_is_read(parameters: dict[str, str]) -> None:
    for encode in (quote, quote_plus):
        pairs = [f"{encode(name, safe='')}={encode(value, safe='')}" for name, value in parameters.items()]
        assert read_parameters("&".join(pairs)) == parameters
        assert read_parameters(*pairs) == parameters


@pytest.mark.parametrize(
    "encoded",
    [
        "A=%", "A=%4", "A=%zz", "%=1", "A=%C3", "A=%FF%FE", "A=%ED%A0%80", "A=\xfc", "A=a b", "A=1\n", "A=\x00",
        "A", "A=1&", "&A=1", "A=1&&B=2", "&",
        "A=1&A=1", "A=1&A=2", "A=1&%41=2",
        "&".join(f"P{number}=" for number in range(MAX_PARAMETERS + 1)),
    ],
)  # fmt: skip
def test_what_is_not_form_encoded_is_refused_and_not_quoted(encoded: str) -> None:
    with pytest.raises(SerializationException) as refused:
        read_parameters(encoded)
    assert refused.value.__context__ is None


def test_a_parameter_may_not_come_in_the_query_string_and_in_the_body() -> None:
    assert read_parameters("A=1", "B=2") == {"A": "1", "B": "2"}
    with pytest.raises(SerializationException, match="more than once"):
        read_parameters("A=1", "A=1")


def test_as_many_parameters_as_allowed_are_read() -> None:
    assert len(read_parameters("&".join(f"P{number}=" for number in range(MAX_PARAMETERS)))) == MAX_PARAMETERS


@given(st.dictionaries(NAMES, st.text(max_size=2), max_size=6))
def test_a_tree_holds_each_parameter_unless_one_goes_on_where_another_ends(
    parameters: dict[str, str],
) -> None:
    clash = any(longer.startswith(f"{name}.") for name in parameters for longer in parameters)
    if clash:
        with pytest.raises(SerializationException):
            as_tree(parameters)
        return
    tree = as_tree(parameters)
    for name, text in parameters.items():
        node: Any = tree
        for part in name.split("."):
            node = node[part]
        assert node == text


def test_names_are_only_so_long() -> None:
    as_tree({".".join("a" * MAX_NAMES): ""})
    with pytest.raises(SerializationException):
        as_tree({".".join("a" * (MAX_NAMES + 1)): ""})
    with pytest.raises(SerializationException):
        as_tree({"." * 1_000_000: ""})


def test_structures_lists_and_maps_are_read_as_the_model_spells_them() -> None:
    assert read(
        "iam",
        "CreateUser",
        "UserName=u&Tags.member.1.Key=a&Tags.member.1.Value=&Tags.member.2.Key=b&Tags.member.2.Value=c",
    ) == {"UserName": "u", "Tags": [{"Key": "a", "Value": ""}, {"Key": "b", "Value": "c"}]}
    assert read(
        "rds", "DescribeDBInstances", "Filters.Filter.1.Name=n&Filters.Filter.1.Values.Value.1=v"
    ) == {"Filters": [{"Name": "n", "Values": ["v"]}]}
    assert read(
        "sns",
        "Publish",
        "Message=m&MessageAttributes.entry.1.Name=k&MessageAttributes.entry.1.Value.DataType=String",
    ) == {"Message": "m", "MessageAttributes": {"k": {"DataType": "String"}}}
    assert read("sns", "CreateTopic", "Attributes.entry.1.key=k.1&Attributes.entry.1.value=v") == {
        "Attributes": {"k.1": "v"}
    }


def test_more_than_nine_elements_keep_their_order() -> None:
    sent = "&".join(f"TagKeys.member.{number}=k{number}" for number in range(12, 0, -1))
    assert read("iam", "UntagUser", sent)["TagKeys"] == [f"k{number}" for number in range(1, 13)]


def test_nothing_after_the_sign_is_an_empty_list_or_map() -> None:
    assert read("iam", "UntagUser", "TagKeys=") == {"TagKeys": []}
    assert read("sns", "CreateTopic", "Attributes=") == {"Attributes": {}}


def test_parameters_that_the_model_does_not_know_are_left_out() -> None:
    assert read("sts", "GetCallerIdentity", "Action=GetCallerIdentity&X-Amz-Date=1&Other.member.7=2") == {}


@pytest.mark.parametrize(
    "encoded",
    [
        "TagKeys.member.2=a",
        "TagKeys.member.1=a&TagKeys.member.3=c",
        "TagKeys.member.0=a",
        "TagKeys.member.01=a",
        "TagKeys.member.-1=a",
        "TagKeys.member.x=a",
        "TagKeys.member.%D9%A1=a",
        "TagKeys.member.=a",
        "TagKeys.member=a",
        "TagKeys.1=a",
        "TagKeys.entry.1=a",
        "TagKeys.member.1=a&TagKeys.size=1",
        "TagKeys=a",
        "TagKeys=&TagKeys.member.1=a",
        "TagKeys.member.1.Key=a",
        "UserName.First=a",
    ],
)
def test_lists_that_can_be_read_in_two_ways_are_refused(encoded: str) -> None:
    with pytest.raises(SerializationException):
        read("iam", "UntagUser", encoded)


@pytest.mark.parametrize(
    "encoded",
    [
        "Attributes.entry.1.key=a",
        "Attributes.entry.1.value=a",
        "Attributes.entry.1=a",
        "Attributes.entry.1.key=a&Attributes.entry.1.value=b&Attributes.entry.1.more=c",
        "Attributes.entry.1.key=a&Attributes.entry.1.value=b&Attributes.entry.2.key=a&Attributes.entry.2.value=c",
        "Attributes.entry.1.key.x=a&Attributes.entry.1.value=b",
        "Attributes.entry.2.key=a&Attributes.entry.2.value=b",
        "Attributes.1.key=a&Attributes.1.value=b",
        "Attributes.a=b",
        "Attributes=a",
    ],
)
def test_maps_that_can_be_read_in_two_ways_are_refused(encoded: str) -> None:
    with pytest.raises(SerializationException):
        read("sns", "CreateTopic", encoded)


@pytest.mark.parametrize(
    ("service", "operation", "encoded", "value"),
    [
        ("iam", "ListUsers", "MaxItems=7", 7),
        ("iam", "ListUsers", "MaxItems=-0007", -7),
        ("rds", "CreateDBCluster", "EngineMode=x&DeletionProtection=true", True),
        ("rds", "CreateDBCluster", "DeletionProtection=false", False),
        ("rds", "CreateDBCluster", "ServerlessV2ScalingConfiguration.MinCapacity=0.5", 0.5),
        ("rds", "CreateDBCluster", "ServerlessV2ScalingConfiguration.MinCapacity=-1.5e1", -15.0),
    ],
)
def test_scalars_become_what_the_model_says(
    service: str, operation: str, encoded: str, value: object
) -> None:
    document = list(read(service, operation, encoded).values())[-1]
    found = next(iter(document.values())) if isinstance(document, dict) else document
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "encoded",
    [
        "DeletionProtection=True",
        "DeletionProtection=1",
        "DeletionProtection=",
        "Port=",
        "Port=1.0",
        "Port=%2B1",
        "Port=1_0",
        "Port=%D9%A1",
        "Port=9999999999",
        "Port=" + "9" * 5_000,
        "ServerlessV2ScalingConfiguration.MinCapacity=NaN",
        "ServerlessV2ScalingConfiguration.MinCapacity=inf",
        "ServerlessV2ScalingConfiguration.MinCapacity=1e999",
        "ServerlessV2ScalingConfiguration.MinCapacity=0x1",
    ],
)
def test_scalars_that_are_none_are_refused_by_the_contract(encoded: str) -> None:
    operation = Contract.load("rds").operations["ModifyDBCluster"]
    with pytest.raises(ApiError) as refused:
        operation.parse(read("rds", "ModifyDBCluster", f"DBClusterIdentifier=c&{encoded}"))
    assert type(refused.value) is SerializationException


@pytest.mark.parametrize("text", ["2026-13-01", "yesterday", "0001-01-01T00:00:00%2B23:00", ""])
def test_moments_that_are_none_are_refused_by_the_contract(text: str) -> None:
    operation = Contract.load("rds").operations["DescribeEvents"]
    with pytest.raises(SerializationException, match="Timestamp at 'startTime'"):
        operation.parse(read("rds", "DescribeEvents", f"StartTime={text}"))


PIECES = st.sampled_from([*"%=+&a0fFgG.~!", "%41", "%c3%a9", "%C3", "%00", "%0A", "%3D", "é", " ", "\n"])


@given(st.lists(PIECES, max_size=20).map("".join))
def test_a_text_is_decoded_as_urllib_decodes_it_strictly(text: str) -> None:
    expected: list[tuple[str, str]] | None = None
    if re.search(r"[^!-~]|%(?![0-9A-Fa-f]{2})", text) is None:
        with suppress(ValueError):
            expected = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict")
    if expected is None and text:
        with pytest.raises(SerializationException):
            read_pairs(text)
    else:
        assert read_pairs(text) == expected


def test_a_body_of_encoded_characters_alone_is_read_in_no_time() -> None:
    text = "a=" + "%C4%81" * 170_000
    began = time.thread_time()
    assert read_parameters(text) == {"a": "\u0101" * 170_000}
    assert time.thread_time() - began < 0.05
