"""One running server for the tests at its socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes import ServerProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("hostile") / "turnlock") as process:
        process.client().create_secret(Name="healthy", SecretString="whole")
        yield process
