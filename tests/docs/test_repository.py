"""What a hosting site and its tools read: hooks, the workflow, templates and owners call and name what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
TEMPLATES = [*sorted(GITHUB.glob("ISSUE_TEMPLATE/*.md")), *GITHUB.glob("pull_request_template.*")]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def targets() -> set[str]:
    """Return the Makefile's targets."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def test_hooks_are_local_and_call_the_makefile() -> None:
    hooks = read(ROOT / ".pre-commit-config.yaml")
    assert [source["repo"] for source in hooks["repos"]] == ["local"]
    for hook in hooks["repos"][0]["hooks"]:
        program, target = hook["entry"].split()
        assert (program, hook["language"], hook["pass_filenames"]) == ("make", "system", False)
        assert target in targets()


def test_the_workflow_runs_what_a_submission_must_pass_and_nothing_else() -> None:
    steps = read(GITHUB / "workflows" / "ci.yml")["jobs"]["run"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_ci_runs_the_checks_and_the_suite_and_what_failed_once_more_in_the_open() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in lines if line.startswith("make")] == [
        "make check",
        'make test || { echo "--- running again what failed ---"; make retest; }',
    ]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_names_files_and_targets_that_are_there(template: Path) -> None:
    text = template.read_text()
    assert set(re.findall(r"`make ([a-z]+)`", text)) <= targets()
    files = re.findall(r"\b(?:docs/[\w/.-]+\w|[A-Z]{6,}\.md)", text)
    assert files
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_issues_of_each_kind_have_a_template() -> None:
    heads = [path.read_text().split("---")[1] for path in TEMPLATES[:-1]]
    assert sorted(yaml.safe_load(head)["labels"] for head in heads) == ["bug", "enhancement"]


def test_each_path_that_has_owners_is_there() -> None:
    lines = [
        line.split()
        for line in (GITHUB / "CODEOWNERS").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert lines[0][0] == "*"
    assert [path for path, *_ in lines[1:] if not (ROOT / path.lstrip("/")).exists()] == []
    assert all(owner.startswith("@") for _, *owners in lines for owner in owners)
