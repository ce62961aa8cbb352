"""Managed and inline policies, what they are attached to, and the policy simulator."""
