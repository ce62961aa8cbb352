"""Key policies: rows and actions."""
