"""IAM's fixtures: a store with two accounts, and the root user of the first."""

from tests.iam.conftest import clock, iam, store

__all__ = ["clock", "iam", "store"]
