"""The former name of `local_servers`, for programs outside that import it; it goes with 0.3.0. Nothing of turnlock imports it."""

from turnlock.local_servers import EmbeddedMariaDB, EmbeddedPostgres

__all__ = ["EmbeddedMariaDB", "EmbeddedPostgres"]
