"""Turnlock: AWS Secrets Manager on one's own machines."""
