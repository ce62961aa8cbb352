"""RDS's actions, together."""

from __future__ import annotations

from turnlock.databases import catalogue, clusters, instances, tagging

ACTIONS = (*catalogue.ACTIONS, *clusters.ACTIONS, *instances.ACTIONS, *tagging.ACTIONS)
