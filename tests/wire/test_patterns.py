"""The models' patterns in Python: the same language, and no pattern that a caller can make slow."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from botocore.loaders import Loader
from hypothesis import given, settings
from hypothesis import strategies as st

from turnlock.errors import ConfigurationError
from turnlock.wire.patterns import compile_pattern

SERVICES = (
    "cloudformation",
    "cloudtrail",
    "events",
    "iam",
    "kms",
    "lambda",
    "rds",
    "secretsmanager",
    "sns",
    "sts",
)
MODELS = {service: Loader().load_service_model(service, "service-2")["shapes"] for service in SERVICES}
PATTERNS = sorted(
    {shape["pattern"] for shape in MODELS["secretsmanager"].values() if shape.get("pattern") is not None}
)


@pytest.mark.parametrize("service", SERVICES)
def test_every_pattern_of_the_services_in_scope_compiles(service: str) -> None:
    for shape in MODELS[service].values():
        if "pattern" in shape:
            assert isinstance(compile_pattern(shape["pattern"]), re.Pattern)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("unit", ["a", "a-", "0", "-", "!", "0h", " ", "a-0", "é", "\n", "\\"])
def test_no_pattern_is_slow_on_hostile_text(pattern: str, unit: str) -> None:
    compiled = compile_pattern(pattern)
    hostile = unit * (65536 // len(unit))
    started = time.thread_time()
    for text in (hostile, hostile + "\0", "\0" + hostile, "!" + hostile + "h", "a" + hostile + "-"):
        compiled.fullmatch(text)
    assert time.thread_time() - started < 0.5


@settings(deadline=None)
@given(st.text(max_size=10))
def test_unicode_categories_mean_what_unicode_says(text: str) -> None:
    wanted = bool(text) and all(unicodedata.category(char)[0] in "LZN" or char in "_.:" for char in text)
    assert (compile_pattern(r"[\p{L}\p{Z}\p{N}_.:]+").fullmatch(text) is not None) is wanted


@settings(deadline=None)
@given(st.text(st.characters(categories=["L", "N"]), max_size=10))
def test_categories_of_two_letters_are_known_too(text: str) -> None:
    wanted = all(unicodedata.category(char) == "Nd" for char in text)
    assert (compile_pattern(r"\p{Nd}*".replace(r"\p{Nd}", r"[\p{Nd}]")).fullmatch(text) is not None) is wanted


def test_digits_and_word_characters_are_those_of_ascii() -> None:
    assert compile_pattern(r"\d\w").fullmatch("1a")
    assert not compile_pattern(r"\d").fullmatch("٣")
    assert not compile_pattern(r"\w").fullmatch("é")


def test_surrogate_pairs_of_the_models_mean_characters_beyond_the_first_plane() -> None:
    pattern = compile_pattern(r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*")
    assert pattern.fullmatch("a😀\t")
    assert not pattern.fullmatch("\n")


def test_a_closing_line_break_does_not_slip_past_a_dollar_sign() -> None:
    assert not compile_pattern("^[a-z]+$").fullmatch("abc\n")


def test_a_pattern_that_python_cannot_read_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="cannot be compiled"):
        compile_pattern("[a")


def test_a_hyphen_after_a_shorthand_is_a_hyphen() -> None:
    pattern = compile_pattern(r"[\w-_]*")
    assert pattern.fullmatch("a-b_c")
    assert not pattern.fullmatch("a.b")
