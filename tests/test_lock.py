"""The lock file installs on every Python that the project says it runs on, not only on the one that wrote it."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).parents[1] / "requirements.lock"
LOCKED = {
    canonicalize_name(name): version
    for name, version in re.findall(
        r"^([A-Za-z0-9._-]+)==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE
    )
}


@pytest.mark.parametrize("python", ["3.11.0", "3.11.2", "3.12.0", "3.13.0"])
def test_what_a_locked_package_needs_is_locked_too(python: str) -> None:
    environment = {
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "extra": "",
    }
    missing = {
        f"{name} needs {needed.name}"
        for name in LOCKED
        for needed in map(Requirement, metadata.requires(name) or ())
        if needed.marker is None or needed.marker.evaluate(environment)
        if canonicalize_name(needed.name) not in LOCKED
    }
    assert not missing


def test_each_locked_package_is_there_in_its_version() -> None:
    there = {name: metadata.version(name) for name in LOCKED}
    assert there == LOCKED
