"""Alembic's entry point: runs the revisions on the connection that `migrate` gives it, in its transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
