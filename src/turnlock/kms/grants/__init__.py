"""Grants of keys: rows and actions."""
