"""Replicas in the deployment's other Regions: rows, actions, and the carrying out."""
