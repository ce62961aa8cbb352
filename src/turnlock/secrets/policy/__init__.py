"""Resource policies of secrets: rows and actions."""
