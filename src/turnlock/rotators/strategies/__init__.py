"""Single user, alternating users, two passwords, and the master that helps them."""
