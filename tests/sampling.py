"""How many examples a property test takes: all of them in `make test`, a quarter in `make quick`."""

from __future__ import annotations

import os

FEW = os.environ.get("TURNLOCK_TEST_EXAMPLES") == "few"


def examples(many: int) -> int:
    """Return how many of `many` examples to take."""
    return max(5, many // 4) if FEW else many
