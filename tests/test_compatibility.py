"""docs/compatibility.md names each operation, structure and member of the model, and what is not there yet is said to be so."""

from __future__ import annotations

import re
from pathlib import Path

from botocore.loaders import Loader

from turnlock import kms
from turnlock.accounts.entities import saved_principals
from turnlock.wire.not_served import not_served

NOT_YET, KMS_NOT_YET = not_served("secretsmanager"), not_served("kms")
PAGE = Path(__file__).parents[1] / "docs" / "compatibility.md"
MODEL = Loader().load_service_model("secretsmanager", "service-2")


def rows(heading: str) -> dict[str, list[str]]:
    """Return the rows of the table under a heading: by their first cell, the other cells."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in cells[2:]}


def named(cell: str) -> list[str]:
    return sorted(re.findall(r"`(\w+)`", cell))


def members(shape: str | None) -> list[str]:
    return [] if shape is None else sorted(MODEL["shapes"][shape].get("members", {}))


def test_each_operation_stands_there_with_all_it_takes_and_gives() -> None:
    modelled = {
        name: [members(operation.get(side, {}).get("shape")) for side in ("input", "output")]
        for name, operation in MODEL["operations"].items()
    }
    assert {
        name: [named(takes), named(gives)] for name, (takes, gives, _) in rows("Operations").items()
    } == modelled


def test_each_structure_stands_there_with_its_members() -> None:
    modelled = {
        name: members(name)
        for name, shape in MODEL["shapes"].items()
        if shape["type"] == "structure"
        and not shape.get("exception")
        and not name.endswith(("Request", "Response"))
    }
    assert {name: named(held) for name, (held, _) in rows("Structures").items()} == modelled


def test_what_has_no_handler_is_said_to_be_not_there_yet() -> None:
    missing = {name for name, cells in rows("Operations").items() if cells[-1].startswith("**not yet**")}
    assert missing == set(NOT_YET)


def test_each_operation_of_kms_that_is_served_stands_in_its_section() -> None:
    served = {action.name for action in kms.kms_actions(saved_principals)}
    section = PAGE.read_text(encoding="utf-8").split("## KMS\n")[1].split("\n## ")[0]
    named = {
        name
        for line in section.splitlines()
        for name in re.findall(r"\b[A-Z]\w+", line.split("|")[1] if line.startswith("|") else "")
    }
    assert named >= served
    assert named - served <= {"operations"}
    assert f"{len(served)} of {len(served) + len(not_served('kms'))} operations" in section
