"""The former name of `local_servers.mysql`."""

from turnlock.local_servers.mysql import EmbeddedMySQL

__all__ = ["EmbeddedMySQL"]
