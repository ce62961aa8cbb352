"""Nothing of RDS's model is left out in silence: each operation has one handler, or a reason for having none."""

from __future__ import annotations

from collections import Counter

import pytest

from turnlock import rds
from turnlock.core.action import Action, no_resource
from turnlock.rds.api import REQUIRED
from turnlock.shell.admission import Service
from turnlock.wire import Contract
from turnlock.wire.not_served import not_served

MODELLED = set(Contract.load("rds").operations)
REASONS = not_served("rds")


def test_each_operation_has_one_handler_or_a_reason() -> None:
    handled = Counter(action.name for action in rds.ACTIONS)
    assert [name for name, times in handled.items() if times > 1] == []
    assert handled.keys() & REASONS.keys() == set(), "an operation with a handler needs no reason any more"
    assert handled.keys() | REASONS.keys() == MODELLED


@pytest.mark.parametrize("action", rds.ACTIONS, ids=lambda action: action.name)
def test_what_only_reads_is_said_to_only_read(action: Action) -> None:
    assert action.mutates is not action.name.startswith(("Describe", "List"))


@pytest.mark.parametrize("action", rds.ACTIONS, ids=lambda action: action.name)
def test_only_actions_about_what_is_offered_have_no_subject(action: Action) -> None:
    without = {"DescribeGlobalClusters", "DescribeDBEngineVersions", "DescribeOrderableDBInstanceOptions"}
    assert (action.subject is no_resource) == (action.name in without)


def test_all_handlers_together_make_the_service() -> None:
    assert Service.of("rds", rds.ACTIONS).passages.keys() == {action.name for action in rds.ACTIONS}


def test_the_texts_that_operations_require_are_those_of_the_model() -> None:
    for action in rds.ACTIONS:
        shape = Contract.load("rds").operations[action.name].model.input_shape
        assert shape is not None
        texts = {name for name in shape.required_members if shape.members[name].type_name == "string"}
        assert REQUIRED.get(action.name, frozenset()) == texts, action.name
