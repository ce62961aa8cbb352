"""Tags of secrets: rows and actions."""
