"""The schema's history, one revision a file; see docs/decisions/0004-migrations.md for the contract."""
