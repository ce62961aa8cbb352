"""MySQL and MariaDB: users, twins, grants, sessions."""
