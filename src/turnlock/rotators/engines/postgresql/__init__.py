"""PostgreSQL: users, twins, grants, defaults, sessions."""
